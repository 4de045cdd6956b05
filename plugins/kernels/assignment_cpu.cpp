#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "assignment.h"

namespace solo {

// The shorter side is `n`, counted by i, the longer one `m`, counted by j, both from 1 on: column 0 is where a path
// begins. The cost of a pair is its profit taken negative.
Status assign(const double* profits, int64_t rows, int64_t columns, int32_t* column_of) {
  if (rows < 0 || columns < 0 || std::max(rows, columns) > INT32_MAX) return Status::kBadSize;
  for (int64_t k = 0; k < rows * columns; ++k) {
    if (!(profits[k] >= 0 && std::isfinite(profits[k]))) return Status::kBadArgument;
  }
  const bool upright = rows <= columns;
  const int64_t n = std::min(rows, columns), m = std::max(rows, columns);
  const auto profit = [&](int64_t i, int64_t j) {
    return upright ? profits[(i - 1) * columns + j - 1] : profits[(j - 1) * columns + i - 1];
  };
  std::vector<double> u(n + 1), v(m + 1), least(m + 1);  // potentials of both sides; reduced cost of reaching a column
  std::vector<int64_t> owner(m + 1), before(m + 1);  // the i of a column, 0 for none; the column before it on a path
  std::vector<char> visited(m + 1);
  for (int64_t i = 1; i <= n; ++i) {
    std::fill(least.begin(), least.end(), std::numeric_limits<double>::infinity());
    std::fill(visited.begin(), visited.end(), 0);
    owner[0] = i;
    int64_t column = 0;
    do {  // lengthen the shortest path from i until it ends at a free column
      visited[column] = 1;
      const int64_t from = owner[column];
      int64_t next = 0;
      double step = std::numeric_limits<double>::infinity();
      for (int64_t j = 1; j <= m; ++j) {
        if (visited[j]) continue;
        const double cost = -profit(from, j) - u[from] - v[j];
        if (cost < least[j]) {
          least[j] = cost;
          before[j] = column;
        }
        if (least[j] < step) {
          step = least[j];
          next = j;
        }
      }
      for (int64_t j = 0; j <= m; ++j) {
        if (visited[j]) {
          u[owner[j]] += step;
          v[j] -= step;
        } else {
          least[j] -= step;
        }
      }
      column = next;
    } while (owner[column] != 0);
    for (; column != 0; column = before[column]) owner[column] = owner[before[column]];
  }
  std::fill(column_of, column_of + rows, -1);
  for (int64_t j = 1; j <= m; ++j) {
    if (owner[j] == 0 || profit(owner[j], j) == 0) continue;
    column_of[(upright ? owner[j] : j) - 1] = static_cast<int32_t>((upright ? j : owner[j]) - 1);
  }
  return Status::kOk;
}

}  // namespace solo
