//! Conversations over TCP.

use crate::{Failure, bind};
use health::{
    Bind, Http, Pattern,
    http::{Answer, request},
    smtp::{Dialog, Next},
};
use socket2::{Protocol, Type};
use std::{net::SocketAddr, os::fd::OwnedFd, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// Bytes of an answer that are looked at.
const ENOUGH: usize = 64 << 10;

/// Connects, from where `bind` says.
pub async fn connect(target: SocketAddr, bind: &Bind) -> Result<TcpStream, Failure> {
    let socket = bind::socket(target, Type::STREAM, Some(Protocol::TCP), bind)?;
    if bind.port.is_some() {
        // A reset at the end: in TIME_WAIT the port could not be had again for a minute.
        socket
            .set_linger(Some(Duration::ZERO))
            .map_err(|error| Failure::Here(crate::worded(&error)))?;
    }
    let stream = std::net::TcpStream::from(OwnedFd::from(socket));
    Ok(TcpSocket::from_std_stream(stream).connect(target).await?)
}

/// Says something and hears something, or neither.
pub async fn tcp(
    mut stream: TcpStream,
    send: Option<&str>,
    expect: Option<&Pattern>,
) -> Result<(), Failure> {
    if let Some(text) = send {
        stream.write_all(text.as_bytes()).await?;
    }
    let Some(pattern) = expect else {
        return Ok(());
    };
    let mut heard = Vec::new();
    while heard.len() < ENOUGH {
        if stream.read_buf(&mut heard).await? == 0 {
            break;
        }
        if pattern.is_in(&heard) {
            return Ok(());
        }
    }
    let start: Vec<u8> = heard.into_iter().take(60).collect();
    Err(Failure::Server(format!(
        "the answer {:?} does not match {pattern}",
        String::from_utf8_lossy(&start)
    )))
}

/// Gets a page.
pub async fn http(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    http: &Http,
    target: SocketAddr,
) -> Result<(), Failure> {
    stream.write_all(&request(http, target)).await?;
    stream.flush().await?;
    let mut answer = Answer::new(http);
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = match stream.read(&mut buffer).await {
            Ok(read) => read,
            // Many servers end TLS without saying so.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(error.into()),
        };
        if read == 0 {
            return answer.closed().map_err(Failure::Server);
        }
        if let Some(verdict) = answer.hear(buffer.get(..read).unwrap_or_default()) {
            return verdict.map_err(Failure::Server);
        }
    }
}

/// Greets a mail server.
pub async fn smtp(mut stream: TcpStream, helo: &str) -> Result<(), Failure> {
    let mut dialog = Dialog::new(helo);
    let mut buffer = [0; 2048];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return dialog.closed().map_err(Failure::Server);
        }
        match dialog.hear(buffer.get(..read).unwrap_or_default())? {
            Next::Listen => {}
            Next::Say(text) => stream.write_all(text.as_bytes()).await?,
            Next::Done => return Ok(()),
        }
    }
}
