//! Limits as the file has them.

use serde::Serialize;
use types::SynCookies;

/// `syn_cookies`.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum CookiesValue {
    /// `"on"`.
    Word(&'static str),
    /// `{ above = 5000 }`.
    Rate { above: u32 },
}

pub(crate) const fn cookies(when: SynCookies) -> Option<CookiesValue> {
    match when {
        SynCookies::Off => None,
        SynCookies::On => Some(CookiesValue::Word("on")),
        SynCookies::Above(above) => Some(CookiesValue::Rate { above }),
    }
}
