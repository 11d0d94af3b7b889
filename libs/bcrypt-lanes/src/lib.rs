#![doc = include_str!("../README.md")]

mod calibration;
mod hash;
mod kernel;
mod lane;
mod lanes;
mod password;
mod pi;
mod portable;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86;

pub use calibration::Calibration;
pub use hash::{Cost, Hash, ParseError, Version};
pub use kernel::Kernel;
pub use lanes::{Attempt, Job, Lanes, OutputLength, Width};
pub use password::{Nul, Password, PasswordError, Rules, Truncation};
