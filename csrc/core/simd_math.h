// Exponential, and the three smooth activations made of it, on Vec. Each is good to a few units in the last place over
// all of float32 (tests/native/activation_test.cc holds the bounds); NaN gives NaN, and subnormal results are kept.
// Coefficients are minimax fits in relative error; what each leaves is noted beside it.
#pragma once

#include "core/simd.h"

namespace nm {
namespace NM_TIER {

/** e^x, within 1 ulp. x = n ln 2 + r, |r| <= ln 2 / 2; e^r = 1 + r + r^2 q(r), q of degree 4 leaves 3e-9. */
inline Vec exp(Vec x) {
  // min and max give their second operand when one is NaN. Beyond the bounds the result is 0 or infinity anyway.
  x = Vec::max(Vec::all(-104.0f), Vec::min(Vec::all(89.0f), x));
  const Vec n = Vec::round(x * Vec::all(1.44269504f));
  Vec r = Vec::fma(n, Vec::all(-0.693147182f), x);
  r = Vec::fma(n, Vec::all(1.90465421e-9f), r);  // what float32 left out of ln 2, with its sign
  Vec q = Vec::all(0.00138145615f);
  q = Vec::fma(q, r, Vec::all(0.00836873613f));
  q = Vec::fma(q, r, Vec::all(0.041668389f));
  q = Vec::fma(q, r, Vec::all(0.166665211f));
  q = Vec::fma(q, r, Vec::all(0.49999994f));
  const Vec p = Vec::all(1.0f) + Vec::fma(r * r, q, r);
  return Vec::scale_exp2(p, n);
}

/** x e / (1 + e) for x < 0, else x / (1 + e): x times the logistic function of y, where e = exp(-|y|), y as x in sign. */
inline Vec times_logistic(Vec x, Vec e) { return Vec::where_less(x, Vec::zero(), x * e, x) / (Vec::all(1.0f) + e); }

/** x / (1 + exp(-x)), by exp(-|x|), which cannot overflow. */
inline Vec silu(Vec x) { return times_logistic(x, exp(Vec::zero() - Vec::abs(x))); }

/**
 * x Phi(x). The tail of the normal distribution beyond t = |x| is exp(-t^2 / 2) Q(t), (t + 4) Q(t) a polynomial of degree
 * 9 in (t - 4) / (t + 4), which leaves 9e-9. For x < 0 it is the result itself, so it must be relatively accurate: the
 * part of t^2 that float32 loses is kept and applied to the exponential.
 */
inline Vec gelu(Vec x) {
  const Vec one = Vec::all(1.0f);
  const Vec t = Vec::min(Vec::all(14.6f), Vec::abs(x));  // exp(-14.6^2 / 2) is 0 in float32
  const Vec square = t * t;
  const Vec lost = Vec::fma(t, t, Vec::zero() - square);
  Vec e = exp(square * Vec::all(-0.5f));
  e = Vec::fma(e * Vec::all(-0.5f), lost, e);
  const Vec inverse = one / (t + Vec::all(4.0f));
  const Vec z = (t - Vec::all(4.0f)) * inverse;
  Vec q = Vec::all(-0.00013243976f);
  q = Vec::fma(q, z, Vec::all(0.000178359624f));
  q = Vec::fma(q, z, Vec::all(0.00156958867f));
  q = Vec::fma(q, z, Vec::all(-0.00351207005f));
  q = Vec::fma(q, z, Vec::all(-0.00752500119f));
  q = Vec::fma(q, z, Vec::all(0.0604037642f));
  q = Vec::fma(q, z, Vec::all(-0.186523482f));
  q = Vec::fma(q, z, Vec::all(0.387136906f));
  q = Vec::fma(q, z, Vec::all(-0.607896566f));
  q = Vec::fma(q, z, Vec::all(0.755285144f));
  const Vec tail = e * (q * inverse);
  return x * Vec::where_less(x, Vec::zero(), tail, one - tail);
}

/**
 * x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3). An error of the exponent would grow by |u| in the result, so
 * it is computed as a sum of two float32: mh w, and what the roundings on the way lost.
 */
inline Vec gelu_tanh(Vec x) {
  const Vec one = Vec::all(1.0f), cubic = Vec::all(0.0447149985f);
  const Vec t = Vec::min(Vec::all(15.0f), Vec::abs(x));  // exp(-2 u(15)) is 0 in float32
  const Vec square = t * t;
  const Vec square_lost = Vec::fma(t, t, Vec::zero() - square);
  const Vec w = Vec::fma(cubic, square, one);
  Vec w_lost = Vec::fma(cubic, square, one - w);
  w_lost = Vec::fma(cubic, square_lost, w_lost);
  w_lost = Vec::fma(Vec::all(1.54614443e-09f), square, w_lost);
  const Vec slope = Vec::all(1.59576917f);  // 2 sqrt(2 / pi)
  const Vec m = slope * t;
  const Vec m_lost = Vec::fma(Vec::all(-4.53406805e-08f), t, Vec::fma(slope, t, Vec::zero() - m));
  const Vec a = m * w;
  const Vec lost = Vec::fma(m, w_lost, Vec::fma(m_lost, w, Vec::fma(m, w, Vec::zero() - a)));
  const Vec e = exp(Vec::zero() - a);
  return times_logistic(x, Vec::fma(Vec::zero() - e, lost, e));
}

}  // namespace NM_TIER
}  // namespace nm
