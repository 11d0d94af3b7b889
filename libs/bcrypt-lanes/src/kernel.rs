//! The choice of the inner loop.

use crate::lane::Lane;

/// An implementation of the inner loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    Bmi2(crate::x86::Bmi2),
}

impl Kernel {
    /// Safe Rust; runs everywhere.
    pub const PORTABLE: Self = Self(Kind::Portable);

    /// The fastest one that this processor can run.
    pub fn detect() -> Self {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if let Some(proof) = crate::x86::Bmi2::detect() {
            return Self(Kind::Bmi2(proof));
        }
        Self::PORTABLE
    }

    /// A name for logs and figures.
    pub const fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            Kind::Bmi2(_) => "x86-64 BMI2",
        }
    }

    /// Expands the keys of one to eight lanes; has no effect for any other number.
    pub(crate) fn sweep(self, lanes: &mut [Lane]) {
        let swept = match self.0 {
            Kind::Portable => crate::portable::sweep(lanes),
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            Kind::Bmi2(proof) => proof.sweep(lanes),
        };
        debug_assert!(swept, "one to eight lanes, not {}", lanes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::Kernel;
    use crate::lane::Lane;

    #[test]
    #[cfg_attr(miri, ignore = "Miri knows no other kernel than the portable one")]
    fn the_fast_kernel_does_what_the_portable_one_does() {
        let fast = Kernel::detect();
        for n in 1..=8 {
            let mut lanes = vec![Lane::EMPTY; n];
            for (k, lane) in (0..).zip(&mut lanes) {
                lane.reset();
                lane.mix(&[0x9e37_79b9_u32.wrapping_mul(k + 1); 18]);
            }
            let mut others = lanes.clone();
            for _ in 0..3 {
                fast.sweep(&mut lanes);
                Kernel::PORTABLE.sweep(&mut others);
            }
            for (lane, other) in lanes.iter().zip(&others) {
                assert_eq!(lane.p, other.p, "{n} lanes");
                assert_eq!(lane.s, other.s, "{n} lanes");
            }
        }
    }
}
