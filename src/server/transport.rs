//! The way in which bytes travel over a listening address.

/// The way in which bytes travel over a listening address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// As they are.
    Plain,
    /// In records of TLS.
    Tls,
}

impl Transport {
    /// Returns TLS where `is_tls` holds.
    pub(super) fn tls_if(is_tls: bool) -> Self {
        if is_tls { Self::Tls } else { Self::Plain }
    }

    /// Returns the scheme of URLs: `http` or `https`.
    pub(super) fn scheme(self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Tls => "https",
        }
    }
}
