//! The body of an answer whose records are split off while it arrives.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame};

use super::DecodedRecords;
use super::split::Splitter;

/// A body without its records, which go to `records`. Ends in one frame, when the original has ended.
pub(super) struct SplitBody {
    original: SdkBody,
    /// None once the original has ended.
    splitter: Option<Splitter>,
    records: DecodedRecords,
}

impl SplitBody {
    pub fn new(original: SdkBody, splitter: Splitter, records: DecodedRecords) -> Self {
        Self {
            original,
            splitter: Some(splitter),
            records,
        }
    }
}

impl fmt::Debug for SplitBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitBody").finish_non_exhaustive()
    }
}

impl Body for SplitBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            let Some(splitter) = &mut this.splitter else {
                return Poll::Ready(None);
            };
            let frame = ready!(Pin::new(&mut this.original).poll_frame(context));
            match frame.transpose()? {
                Some(frame) => {
                    if let Ok(piece) = frame.into_data() {
                        splitter.add(&piece);
                    }
                }
                None => {
                    let rest = this.splitter.take().map(|splitter| match splitter.finish() {
                        Ok(apart) => {
                            this.records.set_apart(apart.records, apart.list_at);
                            apart.rest
                        }
                        Err(body) => body,
                    });
                    return Poll::Ready(rest.map(|rest| Ok(Frame::data(rest.into()))));
                }
            }
        }
    }
}
