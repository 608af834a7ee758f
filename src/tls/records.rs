//! Drives rustls' unbuffered API, which is a state machine: each state has to be handled before the next one.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};

use super::error::TlsError;

/// Most bytes that a record has in addition to its plaintext: the header, the nonce of TLS 1.2, the tag, and the type
/// of TLS 1.3.
const AROUND_RECORD: usize = 5 + 8 + 16 + 1;
/// Plaintext of an alert in bytes.
const ALERT_BYTES: usize = 2;

/// The records of one connection: keys, handshake, and the state of both directions.
pub(super) struct Records(UnbufferedServerConnection);

/// The outcome of [`Records::advance`].
pub(super) struct Advanced {
    /// Bytes that were processed.
    pub(super) used: usize,
    /// True when the peer has announced the end of what it sends.
    pub(super) is_closed: bool,
}

impl Records {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        Ok(Self(UnbufferedServerConnection::new(config)?))
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Processes as many bytes of `incoming` as possible. Messages of TLS that answer them are added to `outgoing`.
    pub(super) fn advance(
        &mut self,
        incoming: &mut [u8],
        outgoing: &mut Vec<u8>,
        plaintext: &mut dyn FnMut(&[u8]),
    ) -> Result<Advanced, TlsError> {
        let mut advanced = Advanced { used: 0, is_closed: false };
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.0.process_tls_records(&mut incoming[advanced.used..]);
            let is_done = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        plaintext(record.payload);
                    }
                    false
                }
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    encode(data, outgoing)?;
                    false
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    false
                }
                Ok(ConnectionState::PeerClosed) => {
                    advanced.is_closed = true;
                    true
                }
                Ok(ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake) => true,
                Ok(ConnectionState::Closed) => {
                    advanced.is_closed = true;
                    true
                }
                // Early data is refused by the configuration.
                Ok(_) => return Err(rustls::Error::General("unexpected state of TLS".into()).into()),
                Err(error) => {
                    self.queue_alert(&mut incoming[advanced.used..], outgoing);
                    return Err(error.into());
                }
            };
            advanced.used += discard;
            if is_done {
                return Ok(advanced);
            }
        }
    }

    /// Adds the alert that tells the peer why the connection has failed to `outgoing`.
    fn queue_alert(&mut self, incoming: &mut [u8], outgoing: &mut Vec<u8>) {
        while self.0.wants_write() {
            let state = self.0.process_tls_records(incoming).state;
            let Ok(ConnectionState::EncodeTlsData(data)) = state else { return };
            if encode(data, outgoing).is_err() {
                return;
            }
        }
    }

    /// Encrypts at most one record of plaintext, and appends it to `ciphertext` behind the messages of TLS that have to
    /// leave before it. `held` are the bytes that [`Records::advance`] has not used.
    pub(super) fn encrypt(
        &mut self,
        held: &mut [u8],
        plaintext: &[u8],
        ciphertext: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        self.write(held, ciphertext, |traffic, buffer| traffic.encrypt(plaintext, buffer), plaintext.len())
    }

    /// Appends the alert that announces the end to `ciphertext`, as [`Records::encrypt`] appends plaintext.
    pub(super) fn close(&mut self, held: &mut [u8], ciphertext: &mut Vec<u8>) -> Result<(), TlsError> {
        self.write(held, ciphertext, |traffic, buffer| traffic.queue_close_notify(buffer), ALERT_BYTES)
    }

    fn write(
        &mut self,
        held: &mut [u8],
        ciphertext: &mut Vec<u8>,
        seal: impl Fn(&mut WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
        plain_bytes: usize,
    ) -> Result<(), TlsError> {
        loop {
            // The held bytes bring nothing new, but rustls remembers positions in them.
            let UnbufferedStatus { discard, state } = self.0.process_tls_records(held);
            debug_assert_eq!(discard, 0, "all that is complete was processed before");
            match state? {
                ConnectionState::EncodeTlsData(data) => encode(data, ciphertext)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::WriteTraffic(mut traffic) => {
                    let from = ciphertext.len();
                    ciphertext.resize(from + plain_bytes + AROUND_RECORD, 0);
                    let sealed = match seal(&mut traffic, &mut ciphertext[from..]) {
                        // The answer to a message of the peer leaves with this record.
                        Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                            ciphertext.resize(from + required_size, 0);
                            seal(&mut traffic, &mut ciphertext[from..])
                        }
                        sealed => sealed,
                    };
                    ciphertext.truncate(from + sealed.as_ref().copied().unwrap_or(0));
                    let sealed = sealed.map_err(|error| rustls::Error::General(error.to_string()));
                    return sealed.map(|_| ()).map_err(TlsError::from);
                }
                _ => return Err(rustls::Error::HandshakeNotComplete.into()),
            }
        }
    }
}

/// Appends a message of TLS to a buffer.
fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, buffer: &mut Vec<u8>) -> Result<(), TlsError> {
    let impossible = |error: EncodeError| rustls::Error::General(error.to_string());
    match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
            let from = buffer.len();
            buffer.resize(from + required_size, 0);
            data.encode(&mut buffer[from..]).map_err(impossible)?;
        }
        other => {
            other.map_err(impossible)?;
        }
    }
    Ok(())
}
