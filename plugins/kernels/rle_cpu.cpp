#include "mask_lines.h"
#include "rle.h"

namespace solo {
namespace {

constexpr int kMaxDigits = 7;  // 5 bits each, of a difference of two 32-bit lengths

class Writer {
 public:
  Writer(char* text, int64_t capacity) : text_(text), capacity_(capacity) {}

  void add(int64_t count) {
    int64_t value = written_ > 2 ? count - before_last_ : count;
    before_last_ = last_;
    last_ = count;
    ++written_;
    bool more = true;
    while (more) {
      const int bits = static_cast<int>(value & 31);
      value >>= 5;
      more = value != (bits & 16 ? -1 : 0);
      if (length_ < capacity_) text_[length_] = static_cast<char>(48 + bits + (more ? 32 : 0));
      ++length_;
    }
  }

  int64_t length() const { return length_; }

 private:
  char* text_;
  int64_t capacity_, length_ = 0;
  int64_t written_ = 0, last_ = 0, before_last_ = 0;
};

}  // namespace

int64_t encoded_capacity(const SoftMasks& masks, int64_t index, FrameSize frame) {
  const MaskLines columns(masks, index, frame, MaskLines::Direction::kColumns);
  const int64_t runs = int64_t{columns.lines().end - columns.lines().begin} * columns.max_runs();
  return (2 * runs + 1) * kMaxDigits;
}

Status encode_mask(const SoftMasks& masks, int64_t index, FrameSize frame, char* text, int64_t capacity,
                   int64_t* length) {
  if (const Status status = check_masks(masks, frame); status != Status::kOk) return status;
  if (index < 0 || index >= masks.count) return Status::kBadArgument;

  Writer writer(text, capacity);
  Run runs[kMaxRuns];
  const MaskLines columns(masks, index, frame, MaskLines::Direction::kColumns);
  int64_t begin = 0, end = 0;  // of the current stretch of 1s, in pixels of the whole mask
  int64_t done = 0;            // pixels before it that have been written
  const auto flush = [&] {
    if (begin == end) return;
    writer.add(begin - done);
    writer.add(end - begin);
    done = end;
  };
  for (int x = columns.lines().begin; x < columns.lines().end; ++x) {
    const int64_t top = int64_t{x} * frame.height;
    const int count = columns.scan(x, runs);
    for (int r = 0; r < count; ++r) {
      if (top + runs[r].begin != end || begin == end) {  // not the continuation from the foot of the last column
        flush();
        begin = top + runs[r].begin;
      }
      end = top + runs[r].end;
    }
  }
  flush();
  const int64_t pixels = int64_t{frame.height} * frame.width;
  if (done < pixels) writer.add(pixels - done);
  *length = writer.length();
  return writer.length() <= capacity ? Status::kOk : Status::kTooSmall;
}

}  // namespace solo
