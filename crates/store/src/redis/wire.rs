//! RESP 2: encodes commands and decodes answers.

use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};

/// Longest line or bulk string of an answer, in bytes.
const LONGEST: usize = 64 * 1024;

/// A bidirectional byte stream.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A connection.
pub(super) struct Wire(BufReader<Box<dyn Duplex>>);

/// Encodes one command as an array of bulk strings.
pub(super) fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).into_bytes());
        bytes.extend_from_slice(word);
        bytes.extend(b"\r\n");
    }
    bytes
}

impl Wire {
    pub(super) fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self(BufReader::new(Box::new(stream)))
    }

    /// Sends commands and reads `answers` answers; the first error reply is returned.
    pub(super) async fn ask(&mut self, commands: &[u8], answers: usize) -> Result<(), String> {
        let sent = async {
            self.0.write_all(commands).await?;
            self.0.flush().await
        };
        sent.await.map_err(|why: std::io::Error| why.to_string())?;
        for _ in 0..answers {
            self.answer().await?;
        }
        Ok(())
    }

    /// Reads a simple string, an integer or a bulk string and discards its content; an error reply is an
    /// error.
    async fn answer(&mut self) -> Result<(), String> {
        let line = self.line().await?;
        match line.split_at_checked(1) {
            Some(("+" | ":", _)) => Ok(()),
            Some(("-", refusal)) => Err(refusal.to_owned()),
            Some(("$", length)) => {
                // A null bulk string has the length -1.
                let length: i64 = length.parse().map_err(|_| "it does not speak RESP".to_owned())?;
                let length = usize::try_from(length).map_or(0, |length| length.saturating_add(2));
                if length > LONGEST {
                    return Err("its answer is too long".to_owned());
                }
                let mut text = vec![0; length];
                self.0.read_exact(&mut text).await.map(drop).map_err(|why| why.to_string())
            }
            _ => Err("it does not speak RESP".to_owned()),
        }
    }

    async fn line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        let most = u64::try_from(LONGEST).unwrap_or(u64::MAX);
        (&mut self.0).take(most).read_until(b'\n', &mut line).await.map_err(|why| why.to_string())?;
        let line = line.strip_suffix(b"\r\n").ok_or("it hung up")?;
        Ok(String::from_utf8_lossy(line).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_an_array_of_bulk_strings() {
        assert_eq!(command(&[b"A", b"", b"\r\n"]), b"*3\r\n$1\r\nA\r\n$0\r\n\r\n$2\r\n\r\n\r\n");
    }

    #[tokio::test]
    async fn answers_are_counted_and_error_replies_are_returned() {
        for (text, expected) in [
            ("+OK\r\n:3\r\n$3\r\n1-0\r\n", Ok(())),
            ("+OK\r\n$-1\r\n:1\r\n", Ok(())),
            ("+OK\r\n-OOM no room\r\n:1\r\n", Err("OOM no room")),
            ("+OK\r\n:1\r\n", Err("it hung up")),
            ("+OK\r\n:1\r\n$9\r\nabc", Err("early eof")),
            ("+OK\r\n$99999999\r\n", Err("its answer is too long")),
            ("HTTP/1.1 400 Bad\r\n", Err("it does not speak RESP")),
            ("\r\n", Err("it does not speak RESP")),
        ] {
            let (ours, mut theirs) = tokio::io::duplex(1024);
            theirs.write_all(text.as_bytes()).await.unwrap();
            theirs.shutdown().await.unwrap();
            let told = Wire::new(ours).ask(b"", 3).await;
            assert_eq!(told, expected.map_err(str::to_owned), "{text:?}");
        }
    }
}
