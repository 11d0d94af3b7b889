//! `[legacy]`

use jiff::civil::Date;
use jiff::tz::TimeZone;
use model::Now;

use super::section;

section! {
    /// Legacy routes that existing clients still call.
    pub struct LegacyConfig in "legacy." {
        /// Whether the legacy routes are served; otherwise they answer 410.
        enabled: bool = web::Settings::default().legacy_enabled, example: "false";
        /// The day after which the legacy routes may be removed, announced to clients in `Sunset`.
        sunset: Option<Date> = None, example: "2027-06-30";
    }
}

impl LegacyConfig {
    pub(super) fn apply_to(&self, settings: &mut web::Settings) {
        let Self { enabled, sunset } = self;
        settings.legacy_enabled = *enabled;
        settings.legacy_sunset = sunset.map(beginning_of);
    }
}

fn beginning_of(day: Date) -> Now {
    let zoned = day.to_zoned_datetime(TimeZone::UTC);
    Now::from_seconds(zoned.map_or(0, |zoned| zoned.timestamp().as_second()))
}
