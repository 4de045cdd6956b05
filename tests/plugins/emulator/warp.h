// Operations of the 32 threads of a warp; included by cuda_runtime.h.
#pragma once

namespace emulator {

struct Mail {
  const uint64_t* values;
  unsigned present;
};

// Waits for the whole warp and returns what every lane brought. Only full masks are supported.
inline Mail exchange(unsigned mask, uint64_t value) {
  if (mask != 0xffffffffu) std::abort();
  WarpMail& mail = block->warps[static_cast<size_t>(block->current / kWarp)];
  const auto turn = self().warp_turn % 2;
  mail.values[turn][block->current % kWarp] = value;
  wait(State::kAtWarpBarrier);
  ++self().warp_turn;
  return {mail.values[turn], mail.present[turn]};
}

template <typename T>
T lane_value(const Mail& mail, int lane) {
  T value;
  std::memcpy(&value, &mail.values[lane], sizeof value);
  return value;
}

template <typename T>
Mail send(unsigned mask, T value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return exchange(mask, bits);
}

inline int lane() { return block->current % kWarp; }

}  // namespace emulator

inline void __syncwarp() { emulator::exchange(0xffffffffu, 0); }

inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const emulator::Mail mail = emulator::exchange(mask, predicate != 0);
  unsigned votes = 0;
  for (int i = 0; i < emulator::kWarp; ++i) {
    if (mail.present & 1u << i) votes |= static_cast<unsigned>(mail.values[i]) << i;
  }
  return votes;
}

inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }

template <typename T>
T __shfl_sync(unsigned mask, T value, int from) {
  return emulator::lane_value<T>(emulator::send(mask, value), from % emulator::kWarp);
}

template <typename T>
T __shfl_up_sync(unsigned mask, T value, int distance) {
  const int from = emulator::lane() - distance;
  return emulator::lane_value<T>(emulator::send(mask, value), from < 0 ? emulator::lane() : from);
}

template <typename T>
T __shfl_down_sync(unsigned mask, T value, int distance) {
  const int from = emulator::lane() + distance;
  return emulator::lane_value<T>(emulator::send(mask, value), from >= emulator::kWarp ? emulator::lane() : from);
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits) {
  return emulator::lane_value<T>(emulator::send(mask, value), emulator::lane() ^ bits);
}
