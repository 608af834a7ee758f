//! The addresses that `listen` names: IP addresses, names, a port of all addresses, and Unix sockets.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use toml::Value;

use super::address::is_host;
use super::kind::{InvalidValue, Kind, Raw};

/// Most addresses of `listen`. A new handshake costs a look at each.
const MOST: usize = 8;
/// Most bytes of the path of a Unix socket: the kernel's address has 108 with the zero at the end.
const MAX_PATH_BYTES: usize = 107;
/// The beginning of the address of a Unix socket.
const UNIX: &str = "unix:";

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A name and a port. All addresses count that the name has when the server starts.
    Name(String, u16),
    /// A port of all addresses of the machine, IPv6 and IPv4.
    Everywhere(u16),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// Text that is no address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// It is none of the forms.
    #[error("must be {}", ListenAddresses::FORMS)]
    Form,
    /// The path of a Unix socket is empty, too long or has a zero in it.
    #[error("must have a path of 1 to {MAX_PATH_BYTES} bytes behind {UNIX}")]
    Path,
}

impl Listen {
    /// The address that the server has unless it is told another.
    pub(super) const DEFAULT: Self = Self::Ip(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080));

    /// Returns true where other machines can connect. A name can stand for any address.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        match self {
            Self::Ip(address) => !address.ip().to_canonical().is_loopback(),
            Self::Name(host, _) => host != "localhost",
            Self::Everywhere(_) => true,
            Self::Unix(_) => false,
        }
    }

    /// Returns the IP address and port; `None` for the other forms.
    #[must_use]
    pub fn ip(&self) -> Option<SocketAddr> {
        if let Self::Ip(address) = self { Some(*address) } else { None }
    }

    /// Returns the addresses as one line of text.
    #[must_use]
    pub fn join<'a>(addresses: impl IntoIterator<Item = &'a Self>) -> String {
        addresses.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        if let Some(path) = text.strip_prefix(UNIX) {
            let fits = (1..=MAX_PATH_BYTES).contains(&path.len()) && !path.contains('\0');
            return fits.then(|| Self::Unix(path.into())).ok_or(ListenError::Path);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or(ListenError::Form)?;
        let port = port.parse().ok().filter(|_| port.bytes().all(|b| b.is_ascii_digit()));
        match (host, port) {
            ("", Some(port)) => Ok(Self::Everywhere(port)),
            (host, Some(port)) if is_name(host) => Ok(Self::Name(host.into(), port)),
            _ => Err(ListenError::Form),
        }
    }
}

/// Returns true for the name of a host. A name whose last part is a number would be an IPv4 address with a mistake.
fn is_name(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    is_host(host) && !last.bytes().all(|b| b.is_ascii_digit())
}

/// Shows the address as it is written in the configuration.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
            Self::Everywhere(port) => write!(f, ":{port}"),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// The kind of `listen`: one address or several, as a list of TOML, or as text with commas.
pub(super) struct ListenAddresses;

impl ListenAddresses {
    /// The forms of an address, as the end of a sentence that begins with "must be".
    const FORMS: &'static str = "an address and a port, like 127.0.0.1:8080, [::1]:8080, localhost:8080 or :8080 (all \
                                 addresses), or a Unix socket, like unix:/run/throng/throng.sock";

    fn read(raw: Raw<'_>) -> Result<Vec<Listen>, Vec<InvalidValue>> {
        let whole = |problem| vec![InvalidValue { part: String::new(), given: Some(raw.shown()), problem }];
        let parts: Vec<Raw<'_>> = match raw {
            Raw::Toml(Value::Array(items)) => items.iter().map(Raw::Toml).collect(),
            other => {
                let text = other.text().ok_or_else(|| whole(format!("must be {}", Self.allowed())))?;
                text.split(',').map(|part| Raw::Text(part.trim())).collect()
            }
        };
        if !(1..=MOST).contains(&parts.len()) {
            return Err(whole(format!("must be {}", Self.allowed())));
        }
        let mut addresses = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let address = part.text().ok_or(ListenError::Form).and_then(str::parse);
            let problem = match address {
                Ok(address) if addresses.contains(&address) => "is named twice".to_owned(),
                Ok(address) => {
                    addresses.push(address);
                    continue;
                }
                Err(ListenError::Form) if parts.len() == 1 => format!("must be {}", Self.allowed()),
                Err(error) => error.to_string(),
            };
            let part_of = if parts.len() == 1 { String::new() } else { format!("[{index}]") };
            let given = if parts.len() == 1 { raw.shown() } else { part.shown() };
            return Err(vec![InvalidValue { part: part_of, given: Some(given), problem }]);
        }
        Ok(addresses)
    }
}

impl Kind for ListenAddresses {
    type Value = Vec<Listen>;
    fn parse(&self, raw: Raw<'_>) -> Option<Vec<Listen>> {
        Self::read(raw).ok()
    }
    fn show(&self, value: &Vec<Listen>) -> Option<Value> {
        let shown = |address: &Listen| Value::String(address.to_string());
        match &value[..] {
            [] => None,
            [one] => Some(shown(one)),
            several => Some(Value::Array(several.iter().map(shown).collect())),
        }
    }
    fn allowed(&self) -> String {
        format!("{}; or a list (in the environment with commas) of up to {MOST}", Self::FORMS)
    }
    fn explain(&self, raw: Raw<'_>) -> Vec<InvalidValue> {
        Self::read(raw).err().unwrap_or_default()
    }
}

/// The permissions of a file in octal digits, such as those of a Unix socket.
pub(super) struct FileMode;

impl Kind for FileMode {
    type Value = u32;
    fn parse(&self, raw: Raw<'_>) -> Option<u32> {
        let text = raw.text()?.trim();
        let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777)
    }
    fn show(&self, value: &u32) -> Option<Value> {
        Some(Value::String(format!("{value:04o}")))
    }
    fn allowed(&self) -> String {
        "permissions in octal digits from \"0000\" to \"0777\", like \"0660\"".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_back() {
        for (text, expected, is_reachable) in [
            ("127.0.0.1:8080", Listen::DEFAULT, false),
            ("0.0.0.0:80", Listen::Ip(([0, 0, 0, 0], 80).into()), true),
            ("[::1]:0", Listen::Ip("[::1]:0".parse().unwrap()), false),
            ("localhost:8080", Listen::Name("localhost".into(), 8080), false),
            ("chat.example:1", Listen::Name("chat.example".into(), 1), true),
            (":8080", Listen::Everywhere(8080), true),
            ("unix:/run/a b.sock", Listen::Unix("/run/a b.sock".into()), false),
        ] {
            let address: Listen = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(
                (&address, address.is_reachable(), &*address.to_string()),
                (&expected, is_reachable, text)
            );
        }
        for text in [
            "",
            ":",
            "8080",
            "localhost",
            "localhost:",
            "a:65536",
            "a:+1",
            "::1:80",
            "[a]:1",
            "1.2.3:4",
            "1.2.3.400:5",
            "a b:1",
            "http://a:1",
            "*:80",
        ] {
            assert_eq!(text.parse::<Listen>(), Err(ListenError::Form), "{text}");
        }
        for text in ["unix:".to_owned(), format!("unix:/{}", "a".repeat(MAX_PATH_BYTES)), "unix:a\0b".into()]
        {
            assert_eq!(text.parse::<Listen>(), Err(ListenError::Path), "{text}");
        }
    }

    #[test]
    fn a_list_is_read_from_toml_and_from_text_and_its_mistake_is_named() {
        let read = |text: &str| ListenAddresses.parse(Raw::Text(text)).map(|list| Listen::join(&list));
        assert_eq!(read("127.0.0.1:1, :2,unix:/a"), Some("127.0.0.1:1, :2, unix:/a".into()));
        let list = Value::Array(["[::1]:1", "a:2"].map(|text| Value::String(text.into())).into());
        let parsed = ListenAddresses.parse(Raw::Toml(&list)).unwrap();
        assert_eq!(ListenAddresses.show(&parsed), Some(list));
        for (text, part, problem) in [
            (":1,:1", "[1]", "is named twice"),
            (":1,here,:2", "[1]", "must be an address and a port, like"),
            ("here", "", "or a list (in the environment with commas) of up to 8"),
            (":1,unix:", "[1]", "a path of 1 to 107 bytes"),
            (":1,:2,:3,:4,:5,:6,:7,:8,:9", "", "of up to 8"),
        ] {
            let [found] = &ListenAddresses.explain(Raw::Text(text))[..] else { panic!("{text}") };
            assert!(found.part == part && found.problem.contains(problem), "{text}: {}", found.problem);
        }
    }

    #[test]
    fn permissions_are_octal() {
        let read = |text| FileMode.parse(Raw::Text(text));
        assert_eq!((read("0660"), read("777"), read("0000")), (Some(0o660), Some(0o777), Some(0)));
        for text in ["", "66", "1777", "0668", "+660", "0o660", "00660"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(FileMode.show(&0o660), Some(Value::String("0660".into())));
    }
}
