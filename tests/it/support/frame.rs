//! Frames of RFC 6455 built by hand, wrong ones included, and read strictly.

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// How a frame to be sent declares its length.
#[derive(Clone, Copy)]
pub(crate) enum Length {
    /// The shortest form, as the RFC demands.
    Minimal,
    /// This value in 16 bits.
    Medium(u16),
    /// This value in 64 bits.
    Long(u64),
}

/// A frame to be sent: valid unless a method below makes it wrong.
#[derive(Clone)]
pub(crate) struct Frame {
    first: u8,
    mask: Option<[u8; 4]>,
    length: Length,
    payload: Vec<u8>,
}

impl Frame {
    /// Makes a complete, masked frame.
    pub(crate) fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        let mask = Some([0x37, 0xfa, 0x21, 0x3d]);
        Self { first: 0x80 | opcode, mask, length: Length::Minimal, payload: payload.as_ref().to_vec() }
    }

    /// Clears the FIN bit: the frame is not the last of its message.
    pub(crate) fn unfinished(mut self) -> Self {
        self.first &= 0x7f;
        self
    }

    /// Sets reserved bits: 4 is RSV1, 2 RSV2, 1 RSV3.
    pub(crate) fn rsv(mut self, bits: u8) -> Self {
        self.first |= bits << 4;
        self
    }

    /// Leaves the mask out, which only a server may do.
    pub(crate) fn unmasked(mut self) -> Self {
        self.mask = None;
        self
    }

    /// Declares a length of the test's choice, true or not.
    pub(crate) fn declaring(mut self, length: Length) -> Self {
        self.length = length;
        self
    }

    /// Returns the frame's bytes as they go on the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let flag = if self.mask.is_some() { 0x80 } else { 0 };
        let real = self.payload.len();
        let length = match self.length {
            Length::Minimal if real < 126 => return self.assemble(&[flag | real as u8]),
            Length::Minimal if real < 65_536 => Length::Medium(real as u16),
            Length::Minimal => Length::Long(real as u64),
            given => given,
        };
        match length {
            Length::Medium(n) => self.assemble(&[&[flag | 126][..], &n.to_be_bytes()].concat()),
            Length::Long(n) => self.assemble(&[&[flag | 127][..], &n.to_be_bytes()].concat()),
            Length::Minimal => unreachable!("made explicit above"),
        }
    }

    fn assemble(&self, length: &[u8]) -> Vec<u8> {
        let mask = self.mask.unwrap_or_default();
        let payload = self.payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key);
        let key = self.mask.iter().flatten().copied();
        [self.first].into_iter().chain(length.iter().copied()).chain(key).chain(payload).collect()
    }
}

/// Makes a text message of one frame.
pub(crate) fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    Frame::new(TEXT, text).bytes()
}

/// Makes a ping.
pub(crate) fn ping(payload: impl AsRef<[u8]>) -> Vec<u8> {
    Frame::new(PING, payload).bytes()
}

/// Makes the first frame of a fragmented text message.
pub(crate) fn first(payload: impl AsRef<[u8]>) -> Vec<u8> {
    Frame::new(TEXT, payload).unfinished().bytes()
}

/// Makes a continuation that is not the last.
pub(crate) fn middle(payload: impl AsRef<[u8]>) -> Vec<u8> {
    Frame::new(CONTINUATION, payload).unfinished().bytes()
}

/// Makes the last continuation.
pub(crate) fn last(payload: impl AsRef<[u8]>) -> Vec<u8> {
    Frame::new(CONTINUATION, payload).bytes()
}

/// Makes a close frame.
pub(crate) fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    Frame::new(CLOSE, [&code.to_be_bytes()[..], reason.as_ref()].concat()).bytes()
}

/// A frame that the server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Received {
    /// Makes a frame with this opcode and payload, to compare with.
    pub(crate) fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        Self { opcode, payload: payload.as_ref().to_vec() }
    }

    /// Returns code and reason of a close frame; 1005 when it has neither.
    #[track_caller]
    pub(crate) fn closing(&self) -> (u16, String) {
        assert_eq!(self.opcode, CLOSE, "no close frame: {self:?}");
        match self.payload.as_slice() {
            [] => (1005, String::new()),
            [_] => panic!("a close payload of one byte"),
            [a, b, reason @ ..] => {
                (u16::from_be_bytes([*a, *b]), String::from_utf8(reason.to_vec()).expect("a reason in UTF-8"))
            }
        }
    }

    /// Takes one frame off the front of `bytes`; returns `None` while it is not complete. Panics on anything that the
    /// server must not send: fragments (it never fragments), reserved bits or opcodes, a mask, a length that is not
    /// minimal, control frames that are too long, text that is not UTF-8.
    #[track_caller]
    pub(crate) fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        Self::take_with(bytes, |_| None)
    }

    /// Takes one frame as [`Received::take`] does, but text may be compressed if `inflate` then returns it as it was.
    #[track_caller]
    pub(crate) fn take_with(
        bytes: &mut Vec<u8>,
        inflate: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    ) -> Option<Self> {
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        let opcode = first & 0x0f;
        let is_compressed = first == 0xc0 | TEXT;
        assert!(is_compressed || first & 0xf0 == 0x80, "a fragment or reserved bits: {first:#x}");
        assert!(matches!(opcode, TEXT | BINARY | CLOSE | PING | PONG), "opcode {opcode:#x} from a server");
        assert_eq!(second & 0x80, 0, "a masked frame from a server");
        let (head, length) = match second {
            126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
            short => (2, u64::from(short)),
        };
        let minimal = match length {
            0..126 => 2,
            126..65_536 => 4,
            _ => 10,
        };
        assert_eq!(head, minimal, "a length of {length} in {head} bytes of head");
        assert!(opcode < CLOSE || length <= 125, "a control frame of {length} bytes");
        let end = head + usize::try_from(length).expect("a length in memory's range");
        let mut payload = bytes.get(head..end)?.to_vec();
        if is_compressed {
            payload = inflate(&payload).expect("compression was negotiated");
        }
        assert!(opcode != TEXT || std::str::from_utf8(&payload).is_ok(), "text that is not UTF-8");
        bytes.drain(..end);
        Some(Self { opcode, payload })
    }
}
