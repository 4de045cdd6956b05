// Parts of a training step. Maps are float32, or bfloat16 as int16, for which numpy has no type of its own.
#include <optional>
#include <type_traits>

#include "arrays.h"
#include "batch_norm.h"
#include "cross_entropy.h"
#include "depthwise_conv.h"
#include "prelu.h"
#include "weight_gradient.h"

namespace solo::python {
namespace {

using Shape = std::vector<py::ssize_t>;

// Calls body(T{}) with the type of the numbers in the map.
template <typename Body>
auto with_type_of(const py::array& map, const Body& body) {
  return py::isinstance<py::array_t<int16_t>>(map) ? body(Bfloat16{}) : body(float{});
}

template <typename T>
using Numbers = std::conditional_t<std::is_same_v<T, float>, float, int16_t>;

template <typename T>
const T* read(const py::array& map, const char* name, const Shape& shape) {
  return reinterpret_cast<const T*>(checked<Numbers<T>>(map, name, shape));
}

template <typename T>
T* write(py::array& map, const char* name, const Shape& shape) {
  return reinterpret_cast<T*>(writable<Numbers<T>>(map, name, shape));
}

Shape shape_of(const py::array& map, const char* name = "x") {
  if (map.ndim() != 4)
    throw py::value_error(std::string(name) + ": expected 4 axes, got " + std::to_string(map.ndim()));
  return {map.shape(), map.shape() + 4};
}

Activation activation_of(const std::string& name) {
  if (name == "none") return Activation::kNone;
  if (name == "relu") return Activation::kRelu;
  if (name == "prelu") return Activation::kPrelu;
  throw py::value_error("activation: expected none, relu or prelu, got " + name);
}

// `slopes` are of "prelu" only.
BatchNorm make_norm(const Shape& shape, const py::array& gamma, const py::array& beta, float epsilon,
                    const std::string& activation, const std::optional<py::array>& slopes) {
  BatchNorm norm{
      {shape[0] * shape[1] * shape[2], shape[3]}, epsilon, activation_of(activation), nullptr, nullptr, nullptr};
  if (slopes.has_value() != (norm.activation == Activation::kPrelu)) {
    throw py::value_error("slopes: expected with prelu and nothing else");
  }
  norm.gamma = checked<float>(gamma, "gamma", {norm.rows.channels});
  norm.beta = checked<float>(beta, "beta", {norm.rows.channels});
  if (slopes) norm.slopes = checked<float>(*slopes, "slopes", {norm.rows.channels});
  return norm;
}

py::tuple normalise(const py::array& x, const py::array& gamma, const py::array& beta, float epsilon,
                    const std::string& activation, const std::optional<py::array>& slopes, py::array y, int threads,
                    const std::string& instruction_set) {
  const Shape shape = shape_of(x);
  const BatchNorm norm = make_norm(shape, gamma, beta, epsilon, activation, slopes);
  const Isa isa = isa_of(instruction_set);
  py::array_t<float> mean(norm.rows.channels), variance(norm.rows.channels);
  float *means = mean.mutable_data(), *variances = variance.mutable_data();
  with_type_of(x, [&](auto number) {
    using T = decltype(number);
    const T* from = read<T>(x, "x", shape);
    T* to = write<T>(y, "y", shape);
    run("batch_norm", batch_norm_workspace(norm), [&](void* workspace, int64_t bytes) {
      return batch_norm(norm, from, threads, isa, workspace, bytes, to, means, variances);
    });
  });
  return py::make_tuple(mean, variance);
}

py::tuple normalise_back(const py::array& x, const py::array& dy, const py::array& gamma, const py::array& beta,
                         const py::array& mean, const py::array& variance, float epsilon, const std::string& activation,
                         const std::optional<py::array>& slopes, py::array dx, int threads,
                         const std::string& instruction_set) {
  const Shape shape = shape_of(x);
  const BatchNorm norm = make_norm(shape, gamma, beta, epsilon, activation, slopes);
  const Isa isa = isa_of(instruction_set);
  const int64_t channels = norm.rows.channels;
  const auto* means = checked<float>(mean, "mean", {channels});
  const auto* variances = checked<float>(variance, "variance", {channels});
  py::array_t<float> dgamma(channels), dbeta(channels), dslopes(channels);
  float *gammas = dgamma.mutable_data(), *betas = dbeta.mutable_data(), *bends = dslopes.mutable_data();
  with_type_of(x, [&](auto number) {
    using T = decltype(number);
    const T* from = read<T>(x, "x", shape);
    const T* given = read<T>(dy, "dy", shape);
    T* to = write<T>(dx, "dx", shape);
    run("batch_norm_gradient", batch_norm_workspace(norm), [&](void* workspace, int64_t bytes) {
      return batch_norm_gradient(norm, from, given, means, variances, threads, isa, workspace, bytes, to, gammas, betas,
                                 bends);
    });
  });
  return py::make_tuple(dgamma, dbeta, dslopes);
}

void bend(const py::array& x, const py::array& slopes, py::array y, int threads, const std::string& instruction_set) {
  const Shape shape = shape_of(x);
  const Prelu prelu{{shape[0] * shape[1] * shape[2], shape[3]}, checked<float>(slopes, "slopes", {shape[3]})};
  const Isa isa = isa_of(instruction_set);
  with_type_of(x, [&](auto number) {
    using T = decltype(number);
    const T* from = read<T>(x, "x", shape);
    T* to = write<T>(y, "y", shape);
    run("prelu", prelu_workspace(prelu),
        [&](void* workspace, int64_t bytes) { return solo::prelu(prelu, from, threads, isa, workspace, bytes, to); });
  });
}

py::array_t<float> bend_back(const py::array& x, const py::array& dy, const py::array& slopes, py::array dx,
                             int threads, const std::string& instruction_set) {
  const Shape shape = shape_of(x);
  const Prelu prelu{{shape[0] * shape[1] * shape[2], shape[3]}, checked<float>(slopes, "slopes", {shape[3]})};
  const Isa isa = isa_of(instruction_set);
  py::array_t<float> dslopes(shape[3]);
  float* sums = dslopes.mutable_data();
  with_type_of(x, [&](auto number) {
    using T = decltype(number);
    const T* from = read<T>(x, "x", shape);
    const T* given = read<T>(dy, "dy", shape);
    T* to = write<T>(dx, "dx", shape);
    run("prelu_gradient", prelu_workspace(prelu), [&](void* workspace, int64_t bytes) {
      return prelu_gradient(prelu, from, given, threads, isa, workspace, bytes, to, sums);
    });
  });
  return dslopes;
}

DepthwiseConv make_conv(const Shape& shape, const py::array& weights, int stride, int dilation, int padding) {
  DepthwiseConv conv{shape[0], shape[1], shape[2], shape[3], stride, dilation, padding, nullptr};
  conv.weights = checked<float>(weights, "weights", {conv.channels, kTaps});
  if (depthwise_conv_workspace(conv) < 0) check(Status::kBadSize, "depthwise_conv");
  return conv;
}

void convolve(const py::array& x, const py::array& weights, int stride, int dilation, int padding, py::array y,
              int threads, const std::string& instruction_set) {
  const Shape shape = shape_of(x);
  const DepthwiseConv conv = make_conv(shape, weights, stride, dilation, padding);
  const Isa isa = isa_of(instruction_set);
  with_type_of(x, [&](auto number) {
    using T = decltype(number);
    const T* from = read<T>(x, "x", shape);
    T* to = write<T>(y, "y", {conv.batch, conv.out_height(), conv.out_width(), conv.channels});
    run("depthwise_conv", depthwise_conv_workspace(conv),
        [&](void* workspace, int64_t bytes) { return depthwise_conv(conv, from, threads, isa, workspace, bytes, to); });
  });
}

py::array_t<float> convolve_back(const py::array& x, const py::array& dy, const py::array& weights, int stride,
                                 int dilation, int padding, py::array dx, int threads,
                                 const std::string& instruction_set) {
  const Shape shape = shape_of(x);
  const DepthwiseConv conv = make_conv(shape, weights, stride, dilation, padding);
  const Isa isa = isa_of(instruction_set);
  py::array_t<float> dweights({conv.channels, int64_t{kTaps}});
  float* sums = dweights.mutable_data();
  with_type_of(x, [&](auto number) {
    using T = decltype(number);
    const T* from = read<T>(x, "x", shape);
    const T* given = read<T>(dy, "dy", {conv.batch, conv.out_height(), conv.out_width(), conv.channels});
    T* to = write<T>(dx, "dx", shape);
    run("depthwise_conv_gradient", depthwise_conv_workspace(conv), [&](void* workspace, int64_t bytes) {
      return depthwise_conv_gradient(conv, from, given, threads, isa, workspace, bytes, to, sums);
    });
  });
  return dweights;
}

py::array_t<float> weights_back(const py::array& x, const py::array& dy, int kernel, int stride, int dilation,
                                int padding, int threads, const std::string& instruction_set) {
  const Shape from = shape_of(x), to = shape_of(dy, "dy");
  const Convolution conv{from[0], from[1], from[2], from[3], to[3], kernel, stride, dilation, padding};
  const int64_t bytes = weight_gradient_workspace(conv, std::max(threads, 1));
  if (bytes < 0) check(Status::kBadSize, "weight_gradient");
  const Isa isa = isa_of(instruction_set);
  const auto* maps = checked<float>(x, "x", from);
  const auto* given = checked<float>(dy, "dy", {conv.batch, conv.out_height(), conv.out_width(), conv.out_channels});
  py::array_t<float> dweights({conv.out_channels, conv.channels, conv.kernel, conv.kernel});
  float* written = dweights.mutable_data();
  run("weight_gradient", bytes, [&](void* workspace, int64_t size) {
    return weight_gradient(conv, maps, given, threads, isa, workspace, size, written);
  });
  return dweights;
}

// Of logits [batch, height, width, classes], planar ones [batch, classes, height, width].
CrossEntropy make_loss(const py::array& logits, const py::array& labels, bool planar) {
  const Shape shape = shape_of(logits, "logits");
  const Shape picture(shape.begin() + (planar ? 2 : 1), shape.end() - (planar ? 0 : 1));
  CrossEntropy loss{shape[0], picture[0] * picture[1], shape[planar ? 1 : 3], planar, nullptr};
  loss.labels = checked<uint8_t>(labels, "labels", {loss.batch, picture[0], picture[1]});
  return loss;
}

py::tuple entropies(const py::array& logits, const py::array& labels, bool planar, int threads,
                    const std::string& instruction_set) {
  const Shape shape = shape_of(logits, "logits");
  const CrossEntropy loss = make_loss(logits, labels, planar);
  const Isa isa = isa_of(instruction_set);
  const Shape picture(labels.shape(), labels.shape() + 3);
  py::array_t<float> losses(picture);
  py::array_t<bool> right(picture);
  float* to = losses.mutable_data();
  bool* hits = right.mutable_data();
  with_type_of(logits, [&](auto number) {
    const auto* from = read<decltype(number)>(logits, "logits", shape);
    run("cross_entropy", [&] { return cross_entropy(loss, from, threads, isa, to, hits); });
  });
  return py::make_tuple(losses, right);
}

void entropies_back(const py::array& logits, const py::array& labels, const py::array& dlosses, bool planar,
                    py::array dlogits, int threads, const std::string& instruction_set) {
  const Shape shape = shape_of(logits, "logits");
  const CrossEntropy loss = make_loss(logits, labels, planar);
  const Isa isa = isa_of(instruction_set);
  const auto* given = checked<float>(dlosses, "dlosses", {labels.shape(), labels.shape() + 3});
  with_type_of(logits, [&](auto number) {
    using T = decltype(number);
    const T* from = read<T>(logits, "logits", shape);
    T* to = write<T>(dlogits, "dlogits", shape);
    run("cross_entropy_gradient", [&] { return cross_entropy_gradient(loss, from, given, threads, isa, to); });
  });
}

}  // namespace

void bind_training(py::module_& m) {
  using namespace py::literals;
  m.def("batch_norm", &normalise, "x"_a, "gamma"_a, "beta"_a, "epsilon"_a, "activation"_a, "slopes"_a.none(true), "y"_a,
        "threads"_a = 1, "instruction_set"_a = "best",
        "Write maps [batch, height, width, channels], normalised, to y; return mean and variance, float32 [channels], "
        "see batch_norm.h.");
  m.def("batch_norm_gradient", &normalise_back, "x"_a, "dy"_a, "gamma"_a, "beta"_a, "mean"_a, "variance"_a, "epsilon"_a,
        "activation"_a, "slopes"_a.none(true), "dx"_a, "threads"_a = 1, "instruction_set"_a = "best",
        "Write the gradient of x to dx; return those of gamma, beta and slopes, float32 [channels], see batch_norm.h.");
  m.def("prelu", &bend, "x"_a, "slopes"_a, "y"_a, "threads"_a = 1, "instruction_set"_a = "best",
        "Write maps [batch, height, width, channels], numbers below 0 times the slope of their channel, to y.");
  m.def("prelu_gradient", &bend_back, "x"_a, "dy"_a, "slopes"_a, "dx"_a, "threads"_a = 1, "instruction_set"_a = "best",
        "Write the gradient of x to dx; return that of the slopes, float32 [channels].");
  m.def("depthwise_conv", &convolve, "x"_a, "weights"_a, "stride"_a, "dilation"_a, "padding"_a, "y"_a, "threads"_a = 1,
        "instruction_set"_a = "best",
        "Write maps [batch, height, width, channels], convolved, to y, see depthwise_conv.h.");
  m.def("depthwise_conv_gradient", &convolve_back, "x"_a, "dy"_a, "weights"_a, "stride"_a, "dilation"_a, "padding"_a,
        "dx"_a, "threads"_a = 1, "instruction_set"_a = "best",
        "Write the gradient of x to dx; return that of the weights, float32 [channels, 9], see depthwise_conv.h.");
  m.def(
      "weight_gradient", &weights_back, "x"_a, "dy"_a, "kernel"_a, "stride"_a, "dilation"_a, "padding"_a,
      "threads"_a = 1, "instruction_set"_a = "best",
      "Return the gradient of the weights of a convolution, float32 [out_channels, channels, kernel, kernel]; maps are "
      "float32 [batch, height, width, channels], see weight_gradient.h.");
  m.def("cross_entropy", &entropies, "logits"_a, "labels"_a, "planar"_a, "threads"_a = 1, "instruction_set"_a = "best",
        "Return the cross entropy of every pixel, float32 [batch, height, width], and where no class beats that of the "
        "label, bool; logits are [batch, height, width, classes], or [batch, classes, height, width] if planar, see "
        "cross_entropy.h.");
  m.def("cross_entropy_gradient", &entropies_back, "logits"_a, "labels"_a, "dlosses"_a, "planar"_a, "dlogits"_a,
        "threads"_a = 1, "instruction_set"_a = "best", "Write the gradient of the logits to dlogits.");
}

}  // namespace solo::python
