// What every kernel returns; one Python function turns a status into an exception. Kernels never exit, and throw
// nothing but std::bad_alloc, those that allocate.
#pragma once

namespace solo {

enum class Status : int {
  kOk = 0,
  kBadSize = 1,      // a size is negative, zero where it must not be, or two sizes contradict each other
  kBadArgument = 2,  // a parameter is outside its documented range
  kTooSmall = 3,     // a caller's buffer cannot hold the result
};

}  // namespace solo
