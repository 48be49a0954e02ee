//! The number of the generation of a network namespace's nf_tables rules: it grows with every transaction, whoever makes it.
//!
//! Where it is the same as ahead of the last listing nothing has changed since, and no listing is needed: asking takes microseconds,
//! listing milliseconds. `include/uapi/linux/netfilter/nf_tables.h`: `NFT_MSG_GETGEN` is answered by `NFT_MSG_NEWGEN` with `NFTA_GEN_ID`, a number in
//! network order.

use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with, sockopt,
};

/// `NFNL_SUBSYS_NFTABLES << 8`.
const SUBSYSTEM: u16 = 10 << 8;
const NEWGEN: u16 = 15;
const GETGEN: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NFTA_GEN_ID: u16 = 1;
/// Bytes of a netlink message's head, and of that of netfilter behind it.
const HEAD: usize = 16;
const NFGENMSG: usize = 4;

/// A socket that asks for it, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Generation(OwnedFd);

impl Generation {
    /// Opens it.
    ///
    /// # Errors
    /// The kernel has no nf_tables, or does not permit it.
    pub fn open() -> anyhow::Result<Self> {
        let socket =
            socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::NETFILTER))?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_secs(2)))?;
        let generation = Self(socket);
        generation.now()?;
        Ok(generation)
    }

    /// The number now.
    ///
    /// # Errors
    /// The kernel refuses, or gives no answer within two seconds.
    pub fn now(&self) -> anyhow::Result<u32> {
        send(&self.0, &request(), SendFlags::empty()).context("nf_tables could not be asked")?;
        let mut answer = [0; 4096];
        let (_, length) = recv(&self.0, &mut answer[..], RecvFlags::empty()).context("nf_tables gave no answer")?;
        number(answer.get(..length).unwrap_or_default())
    }
}

fn request() -> [u8; HEAD + NFGENMSG] {
    let mut message = [0; HEAD + NFGENMSG];
    message[..4].copy_from_slice(&((HEAD + NFGENMSG) as u32).to_ne_bytes());
    message[4..6].copy_from_slice(&(SUBSYSTEM | GETGEN).to_ne_bytes());
    message[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    message
}

/// The number in an answer.
fn number(answer: &[u8]) -> anyhow::Result<u32> {
    let two = |at: usize| Some(u16::from_ne_bytes([*answer.get(at)?, *answer.get(at + 1)?]));
    match two(4) {
        Some(kind) if kind == SUBSYSTEM | NEWGEN => {}
        Some(NLMSG_ERROR) => {
            let code = answer.get(HEAD..HEAD + 4).and_then(|code| <[u8; 4]>::try_from(code).ok());
            let code = code.map_or(0, i32::from_ne_bytes);
            bail!("nf_tables: {}", std::io::Error::from_raw_os_error(code.saturating_neg()));
        }
        _ => bail!("nf_tables gave an answer of another kind"),
    }
    let mut at = HEAD + NFGENMSG;
    while let (Some(length), Some(kind)) = (two(at), two(at + 2)) {
        if kind & 0x3fff == NFTA_GEN_ID
            && let Some(value) = answer.get(at + 4..at + 8).and_then(|value| <[u8; 4]>::try_from(value).ok())
        {
            return Ok(u32::from_be_bytes(value));
        }
        // Attributes begin at multiples of four; one without a length would have no end.
        at += usize::from(length).max(4).next_multiple_of(4);
    }
    bail!("nf_tables gave an answer without a generation")
}

#[cfg(test)]
mod tests {
    use super::{HEAD, NEWGEN, NFGENMSG, SUBSYSTEM, number};

    fn answer(kind: u16, attributes: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEAD + NFGENMSG];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(attributes);
        bytes
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = 4 + value.len() as u16;
        [&length.to_ne_bytes(), &kind.to_ne_bytes(), value].concat()
    }

    #[test]
    fn the_number_is_found_among_attributes() {
        let both = [attribute(2, &7_u32.to_be_bytes()), attribute(1, &112_u32.to_be_bytes())].concat();
        let whole = answer(SUBSYSTEM | NEWGEN, &both);
        assert_eq!(number(&whole).expect("a number"), 112);
        for cut in 0..whole.len() {
            assert!(number(&whole[..cut]).is_err(), "{cut}");
        }
        // Without a length, of another kind, an error.
        assert!(number(&answer(SUBSYSTEM | NEWGEN, &[0; 64])).is_err());
        assert!(number(&answer(3, &both)).is_err());
        let mut refused = answer(2, &[]);
        refused[HEAD..HEAD + 4].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert!(number(&refused).expect_err("refused").to_string().contains("not permitted"));
    }
}
