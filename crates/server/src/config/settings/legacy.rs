//! `[legacy]`

use jiff::civil::Date;

use super::section;

section! {
    /// Legacy routes that existing clients still call.
    pub struct LegacyConfig in "legacy." {
        /// Whether the legacy routes are served; otherwise they answer 410.
        enabled: bool = true, example: "false";
        /// The day after which the legacy routes may be removed, announced to clients in `Sunset`.
        sunset: Option<Date> = None, example: "2027-06-30";
    }
}
