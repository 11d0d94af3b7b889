#![doc = include_str!("../README.md")]

mod arena;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod avx2;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod avx512;
mod blake;
mod block;
mod fill;
mod kernel;
mod memory;
mod params;
mod portable;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod prefetch;
mod stretch;

pub use arena::Arena;
pub use kernel::Kernel;
pub use memory::Pages;
pub use params::{Error, Input, Kind, Params, Version};
