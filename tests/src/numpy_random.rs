//! NumPy's `default_rng`, as far as made-up weights need it: the same seed gives the same numbers.
//!
//! `SeedSequence` (O'Neill's seed_seq, 2015), PCG64 (O'Neill, "PCG: a family of simple fast space-efficient statistically
//! good algorithms for random number generation", 2014), and the ziggurat of Marsaglia and Tsang (2000) with 256 strips.
//! Uniform numbers are NumPy's bit by bit; normal ones within 1e-15, since its tables were made with other roundings.

/// Where the ziggurat's tail begins, and the area of a strip.
const TAIL: f64 = 3.654_152_885_361_009;
const AREA: f64 = 4.928_673_233_974_655e-3;
/// A double's mantissa.
const MANTISSA: u64 = 1 << 52;

/// A generator of 64-bit numbers.
pub struct NumpyRandom {
    state: u128,
    increment: u128,
    strips: Strips,
}

/// Tables of the ziggurat.
struct Strips {
    /// A number below this lies inside its strip.
    inside: [u64; 256],
    width: [f64; 256],
    height: [f64; 256],
}

impl NumpyRandom {
    /// `numpy.random.default_rng(seed)`.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        let words = seed_words(seed);
        let wide = |i: usize| u128::from(words[i]) << 64 | u128::from(words[i + 1]);
        let mut random = Self { state: 0, increment: wide(2) << 1 | 1, strips: Strips::new() };
        random.step();
        random.state = random.state.wrapping_add(wide(0));
        random.step();
        random
    }

    fn step(&mut self) {
        const MULTIPLIER: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }

    fn next(&mut self) -> u64 {
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    /// `random()`: in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `uniform(low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// `standard_normal()`.
    pub fn normal(&mut self) -> f64 {
        loop {
            let drawn = self.next();
            let strip = (drawn & 0xff) as usize;
            let negative = drawn >> 8 & 1 == 1;
            let size = drawn >> 9 & (MANTISSA - 1);
            let x = size as f64 * self.strips.width[strip];
            let signed = |x: f64| if negative { -x } else { x };
            if size < self.strips.inside[strip] {
                return signed(x);
            }
            if strip == 0 {
                loop {
                    let beyond = -(-self.unit()).ln_1p() / TAIL;
                    let height = -(-self.unit()).ln_1p();
                    if 2.0 * height > beyond * beyond {
                        return if size >> 8 & 1 == 1 { -(TAIL + beyond) } else { TAIL + beyond };
                    }
                }
            }
            let (low, high) = (self.strips.height[strip], self.strips.height[strip - 1]);
            if (high - low) * self.unit() + low < (-0.5 * x * x).exp() {
                return signed(x);
            }
        }
    }
}

impl Strips {
    fn new() -> Self {
        let density = |x: f64| (-0.5 * x * x).exp();
        let scale = MANTISSA as f64;
        let bottom = AREA / density(TAIL);
        let mut strips = Self { inside: [0; 256], width: [0.0; 256], height: [1.0; 256] };
        strips.inside[0] = (TAIL / bottom * scale) as u64;
        strips.width[0] = bottom / scale;
        strips.width[255] = TAIL / scale;
        strips.height[255] = density(TAIL);
        let mut x = TAIL;
        for strip in (1..255).rev() {
            let next = (-2.0 * (AREA / x + density(x)).ln()).sqrt();
            strips.inside[strip + 1] = (next / x * scale) as u64;
            strips.width[strip] = next / scale;
            strips.height[strip] = density(next);
            x = next;
        }
        strips
    }
}

/// Four 64-bit words out of a seed.
fn seed_words(seed: u32) -> [u64; 4] {
    const POOL: usize = 4;
    let mut constant = 0x43b0_d7e5u32;
    let mut hash = |value: u32| {
        let value = value ^ constant;
        constant = constant.wrapping_mul(0x931e_8875);
        let value = value.wrapping_mul(constant);
        value ^ value >> 16
    };
    let mut pool = [0u32; POOL];
    for (i, word) in pool.iter_mut().enumerate() {
        *word = hash(if i == 0 { seed } else { 0 });
    }
    for source in 0..POOL {
        for target in (0..POOL).filter(|target| *target != source) {
            let hashed = hash(pool[source]);
            let mixed =
                0xca01_f9ddu32.wrapping_mul(pool[target]).wrapping_sub(0x4973_f715u32.wrapping_mul(hashed));
            pool[target] = mixed ^ mixed >> 16;
        }
    }
    let mut constant = 0x8b51_f9ddu32;
    let mut words = [0u64; 4];
    for i in 0..8 {
        let value = pool[i % POOL] ^ constant;
        constant = constant.wrapping_mul(0x58f3_8ded);
        let value = value.wrapping_mul(constant);
        words[i / 2] |= u64::from(value ^ value >> 16) << (32 * (i % 2));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_are_those_of_numpy() {
        // numpy.random.default_rng(0).random(3), and standard_normal(3) of a fresh one; NumPy 2.4.6.
        let mut random = NumpyRandom::new(0);
        let drawn = [random.unit(), random.unit(), random.unit()];
        assert_eq!(drawn, [0.636_961_687_321_454_3, 0.269_786_713_763_870_3, 0.040_973_523_936_194_69]);
        let mut random = NumpyRandom::new(0);
        for wanted in [0.125_730_221_093_393_3, -0.132_104_863_291_301_9, 0.640_422_650_443_282_1] {
            let drawn = random.normal();
            assert!((drawn - wanted).abs() < 1e-15, "{drawn}");
        }
    }

    #[test]
    fn a_hundred_thousand_normal_numbers_are_those_of_numpy() {
        // Enough of them for the strips' edges and the tail; one draw more or fewer would shift all that follow.
        let mut random = NumpyRandom::new(0);
        let drawn: Vec<f64> = (0..100_000).map(|_| random.normal()).collect();
        assert!((drawn[99_999] + 0.495_412_943_095_780_66).abs() < 1e-15, "{}", drawn[99_999]);
        assert!((drawn.iter().sum::<f64>() + 90.825_077_312_061_21).abs() < 1e-9);
        assert_eq!(drawn.iter().filter(|x| x.abs() > TAIL).count(), 34);
        assert_eq!(random.unit(), 0.733_457_783_562_435_1);
    }
}
