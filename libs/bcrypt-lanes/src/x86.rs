//! The kernel in assembler, for x86-64 with BMI1 and BMI2 (Haswell, Zen and later).
//!
//! Optimisations that a compiler does not find:
//! * Both halves of a lane's block live in one 64-bit register, the active half below, so eight lanes need
//!   eight registers. A rotation by 32 swaps the halves while the loads are under way, and one 64-bit `xor`
//!   mixes two subkeys in: ten and a half instructions per round.
//! * One instruction extracts each byte: `shrx`, `bextr`, and `movzx` for the lower two.
//!   (`movzx` from `ah` to `dh` does not need a shifter, of which there are only half as many as adders.)
//! * Lanes are interleaved round by round. The processor's out-of-order window covers all of them.
#![expect(unsafe_code, reason = "assembler: the only kernel that keeps eight lanes in registers")]

use core::arch::naked_asm;
use core::mem::{offset_of, size_of};

use crate::lane::Lane;

/// Proof that the processor has the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bmi2(());

impl Bmi2 {
    /// Detects the instructions.
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("bmi2")).then_some(Self(()))
    }

    /// Expands the lanes' keys, in lock-step.
    ///
    /// Returns `false`, without any effect, if there are no lanes or more than eight.
    #[expect(clippy::unused_self, reason = "the proof that the processor can")]
    pub(crate) fn sweep(self, lanes: &mut [Lane]) -> bool {
        let kernel = match lanes.len() {
            1 => sweep1,
            2 => sweep2,
            3 => sweep3,
            4 => sweep4,
            5 => sweep5,
            6 => sweep6,
            7 => sweep7,
            8 => sweep8,
            _ => return false,
        };
        // SAFETY: `self` proves that the processor has BMI1 and BMI2. The kernel for n lanes reads and writes
        // the `p` and `s` of n lanes side by side, at the offsets that the compiler inserted; `lanes` is that
        // memory, borrowed for writing. Every index is a byte, times four, into a box of 256 words. `Lane` is
        // aligned to 64 bytes, on which the kernel's loop over the subkeys relies.
        unsafe { kernel(lanes.as_mut_ptr()) };
        true
    }
}

// A lane is a whole number of cache lines; the boxes begin at one, directly after the subkeys; the subkeys of
// the rounds end where the lower six bits of their address are zero again.
const _: () = assert!(size_of::<Lane>().is_multiple_of(64) && align_of::<Lane>() == 64);
const _: () =
    assert!(offset_of!(Lane, s).is_multiple_of(64) && offset_of!(Lane, p) + 18 * 4 == offset_of!(Lane, s));

/// One round of one lane: `$swap` is applied to the block while the loads are in flight.
///
/// rdi: lanes; r13, r14, r15: the operands of `bextr` and `shrx`; rsi, rbp: scratch.
macro_rules! round {
    ($k:literal, $x:literal, $d:literal, $b:literal, $second:literal, $subkeys:expr) => {
        concat!(
            concat!("shrx esi, ", $d, ", r15d\n"),
            concat!("bextr ebp, ", $d, ", r13d\n"),
            concat!("mov esi, dword ptr [rdi + 4*rsi + ", $k, "*{lane} + {s}]\n"),
            concat!("add esi, dword ptr [rdi + 4*rbp + ", $k, "*{lane} + {s} + 1024]\n"),
            concat!($second, "\n"),
            concat!("xor esi, dword ptr [rdi + 4*rbp + ", $k, "*{lane} + {s} + 2048]\n"),
            concat!("movzx ebp, ", $b, "\n"),
            concat!("rorx ", $x, ", ", $x, ", 32\n"),
            $subkeys,
            concat!("add esi, dword ptr [rdi + 4*rbp + ", $k, "*{lane} + {s} + 3072]\n"),
            concat!("xor ", $x, ", rsi"),
        )
    };
}

/// The kernel for as many lanes as registers are listed: `(lane 64-bit 32-bit lowest-byte "extract the second
/// byte")`.
macro_rules! kernel {
    ($name:ident: $(($k:literal $x:literal $d:literal $b:literal $second:literal))+) => {
        /// # Safety
        /// The processor has BMI1 and BMI2, and the pointer is to as many lanes as the name says.
        #[unsafe(naked)]
        unsafe extern "sysv64" fn $name(lanes: *mut Lane) {
            naked_asm!(
                "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
                "push {p}",           // [rsp]: the destination of the block
                "mov r12, rdi",       // two subkeys before those of the current round
                "mov r13d, 0x0810",   // eight bits from the sixteenth
                "mov r14d, 0x0808",   // eight bits from the eighth
                "mov r15d, 24",       // all but the highest eight
                $(concat!("xor ", $d, ", ", $d),)+
                ".p2align 6",
                "2:",
                $(concat!("xor ", $x, ", qword ptr [rdi + ", $k, "*{lane} + {p}]"),)+
                ".p2align 4",
                "3:",
                $(round!($k, $x, $d, $b, $second, ""),)+
                $(round!($k, $x, $d, $b, $second,
                    concat!("xor ", $x, ", qword ptr [r12 + ", $k, "*{lane} + {p} + 8]\n")),)+
                $(round!($k, $x, $d, $b, $second, ""),)+
                $(round!($k, $x, $d, $b, $second,
                    concat!("xor ", $x, ", qword ptr [r12 + ", $k, "*{lane} + {p} + 16]\n")),)+
                "add r12, 16",
                "test r12b, 63",
                "jnz 3b",
                "sub r12, 64",
                "mov rsi, qword ptr [rsp]",
                $(concat!("ror ", $x, ", 32"),
                  concat!("mov qword ptr [rdi + rsi + ", $k, "*{lane}], ", $x),)+
                "add rsi, 8",
                "mov qword ptr [rsp], rsi",
                "cmp rsi, {lane}",
                "jne 2b",
                // clears secrets from registers
                "xor eax, eax", "xor ecx, ecx", "xor edx, edx", "xor esi, esi",
                "xor r8d, r8d", "xor r9d, r9d", "xor r10d, r10d", "xor r11d, r11d",
                "pop rbp",
                "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
                "ret",
                lane = const size_of::<Lane>(),
                p = const offset_of!(Lane, p),
                s = const offset_of!(Lane, s),
            )
        }
    };
}

/// A kernel for each number of lanes: each needs one register more than the one before.
macro_rules! kernels {
    ([$($taken:tt)*] [] []) => {};
    ([$($taken:tt)*] [$name:ident $($names:ident)*] [$next:tt $($registers:tt)*]) => {
        kernel!($name: $($taken)* $next);
        kernels!([$($taken)* $next] [$($names)*] [$($registers)*]);
    };
}

kernels!([] [sweep1 sweep2 sweep3 sweep4 sweep5 sweep6 sweep7 sweep8] [
    ("0" "rax" "eax" "al" "movzx ebp, ah")
    ("1" "rbx" "ebx" "bl" "movzx ebp, bh")
    ("2" "rcx" "ecx" "cl" "movzx ebp, ch")
    ("3" "rdx" "edx" "dl" "movzx ebp, dh")
    ("4" "r8" "r8d" "r8b" "bextr ebp, r8d, r14d")
    ("5" "r9" "r9d" "r9b" "bextr ebp, r9d, r14d")
    ("6" "r10" "r10d" "r10b" "bextr ebp, r10d, r14d")
    ("7" "r11" "r11d" "r11b" "bextr ebp, r11d, r14d")
]);
