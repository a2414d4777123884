//! [`ResponseBody`]: one piece, a list that is assembled from stored bytes while it is sent, or a stream.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use http_body::{Frame, SizeHint};

/// The size of the chunks of a list: large enough for few system calls, small enough that a list of any length needs
/// little memory.
const CHUNK: usize = 64 << 10;

/// The body of a response.
pub struct ResponseBody(Kind);

enum Kind {
    Full(Option<Bytes>),
    List(ListBody),
    Stream(BoxStream<'static, Bytes>),
}

struct ListBody {
    head: Option<Bytes>,
    items: std::vec::IntoIter<Bytes>,
    first: bool,
    left: u64,
}

impl ResponseBody {
    /// A body in one piece.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Full(Some(bytes.into())))
    }

    /// No body.
    pub fn empty() -> Self {
        Self(Kind::Full(None))
    }

    /// A JSON list: `head` ends with `"items":[`; the items are the stored bytes.
    pub(crate) fn list(head: String, items: Vec<Bytes>) -> Self {
        let commas = items.len().saturating_sub(1);
        let bytes: usize = items.iter().map(Bytes::len).sum();
        Self(Kind::List(ListBody {
            left: (head.len() + commas + bytes + LIST_END.len()) as u64,
            head: Some(head.into()),
            items: items.into_iter(),
            first: true,
        }))
    }

    /// A stream of chunks, such as a watch.
    pub fn stream(stream: BoxStream<'static, Bytes>) -> Self {
        Self(Kind::Stream(stream))
    }
}

const LIST_END: &[u8] = b"]}\n";

impl ListBody {
    fn next_chunk(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        let mut chunk = BytesMut::with_capacity(CHUNK.min(self.left as usize));
        if let Some(head) = self.head.take() {
            chunk.extend_from_slice(&head);
        }
        loop {
            match self.items.next() {
                Some(item) => {
                    if !std::mem::take(&mut self.first) {
                        chunk.extend_from_slice(b",");
                    }
                    chunk.extend_from_slice(&item);
                }
                None => {
                    chunk.extend_from_slice(LIST_END);
                    break;
                }
            }
            if chunk.len() >= CHUNK - (CHUNK >> 3) {
                break;
            }
        }
        self.left = self.left.saturating_sub(chunk.len() as u64);
        Some(chunk.freeze())
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Kind::Full(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Kind::List(list) => Poll::Ready(list.next_chunk().map(|b| Ok(Frame::data(b)))),
            Kind::Stream(stream) => stream
                .as_mut()
                .poll_next(cx)
                .map(|next| next.map(|b| Ok(Frame::data(b)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(bytes) => bytes.is_none(),
            Kind::List(list) => list.left == 0,
            Kind::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Kind::List(list) => SizeHint::with_exact(list.left),
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}
