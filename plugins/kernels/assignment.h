// Which rows and columns belong together.
#pragma once

#include <cstdint>

#include "status.h"

namespace solo {

// Gives each row at most one column and each column at most one row, so that the sum of profits [rows, columns] of the
// pairs is the largest there is; no pair has a profit of 0. column_of [rows] is -1 for a row without a column. The same
// profits always give the same pairs. Returns kBadArgument for a profit that is negative or not finite.
// Source: the Hungarian method as shortest augmenting paths (Jonker and Volgenant 1987), O(n^2 m), n the smaller side.
Status assign(const double* profits, int64_t rows, int64_t columns, int32_t* column_of);

}  // namespace solo
