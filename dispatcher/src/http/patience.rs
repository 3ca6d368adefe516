//! A body that has to come: whoever sends nothing for a while, or a byte now and then, loses the connection and its slot.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Error;
use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::service::Rules;

/// A request's body under a bound on its slowness.
pub struct Patient {
    inner: Body,
    patience: Duration,
    bytes_per_s: u64,
    /// When it was first asked for.
    began: Option<Instant>,
    bytes: u64,
    alarm: Pin<Box<Sleep>>,
}

impl Patient {
    /// Waits no longer than the rules say.
    pub fn new(inner: Body, rules: &Rules) -> Self {
        Self {
            inner,
            patience: rules.patience,
            bytes_per_s: rules.body_bytes_per_s,
            began: None,
            bytes: 0,
            alarm: Box::pin(sleep(rules.patience)),
        }
    }

    fn crawls(&self, now: Instant) -> bool {
        let took = self.began.map_or(Duration::ZERO, |began| now - began);
        took > self.patience && self.bytes < took.as_secs().saturating_mul(self.bytes_per_s)
    }
}

fn late(why: &str) -> Error {
    Error::new(io::Error::new(io::ErrorKind::TimedOut, why.to_owned()))
}

impl http_body::Body for Patient {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let now = Instant::now();
        if self.began.is_none() {
            self.began = Some(now);
            let until = now + self.patience;
            self.alarm.as_mut().reset(until);
        }
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                if self.crawls(now) {
                    return Poll::Ready(Some(Err(late("the body comes too slowly"))));
                }
                let until = now + self.patience;
                self.alarm.as_mut().reset(until);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Pending => match self.alarm.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(late("nothing more of the body came")))),
                Poll::Pending => Poll::Pending,
            },
            ended => ended,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};
    use http_body_util::BodyExt as _;

    use super::*;

    fn rules() -> Rules {
        Rules { patience: Duration::from_millis(50), body_bytes_per_s: 100, ..Rules::default() }
    }

    async fn read(body: Body) -> Result<usize, String> {
        let all = Patient::new(body, &rules()).collect().await.map_err(|error| error.to_string())?;
        Ok(all.to_bytes().len())
    }

    #[tokio::test]
    async fn what_comes_is_whole_and_silence_ends_it() {
        let pieces =
            || stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"c"))]);
        assert_eq!(read(Body::from_stream(pieces())).await, Ok(3));
        assert_eq!(read(Body::empty()).await, Ok(0));
        let silent = Body::from_stream(pieces().chain(stream::pending()));
        assert_eq!(read(silent).await, Err("nothing more of the body came".to_owned()));
    }

    #[tokio::test]
    async fn who_crawls_is_known_by_the_average() {
        let now = Instant::now();
        let crawls = |took_ms: u64, bytes: u64| {
            let mut body = Patient::new(Body::empty(), &rules());
            (body.began, body.bytes) = (Some(now), bytes);
            body.crawls(now + Duration::from_millis(took_ms))
        };
        assert!(!crawls(50, 0), "within the patience anything goes");
        assert!(crawls(3000, 299) && !crawls(3000, 300));
    }
}
