//! [`Ordered`]: s3s-fs with its writes put in order.
//!
//! Laws:
//! - A conditional write (`If-None-Match: *`, `If-Match`) is checked and done as one: of any number of writers that all
//!   ask for "only if it is not there", exactly one wins and all others get 412. s3s-fs alone looks first, then reads
//!   the body, then renames: all of 50 concurrent creators can win there.
//! - A reader sees an object and its ETag of the same write. s3s-fs keeps them in two files; a reader between the two
//!   would take the old body with the new ETag, and a write conditional on that ETag would lose an update.
//! - Nobody waits for a client's network: bodies are read whole before the order is taken, so a site that is cut off in
//!   the middle of an upload blocks no other site.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CopyObjectInput, CopyObjectOutput, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, DeleteBucketInput, DeleteBucketOutput, DeleteObjectInput, DeleteObjectOutput,
    DeleteObjectsInput, DeleteObjectsOutput, GetBucketLocationInput, GetBucketLocationOutput, GetObjectInput,
    GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput,
    ListBucketsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, ListPartsInput,
    ListPartsOutput, PutObjectInput, PutObjectOutput, StreamingBlob, UploadPartCopyInput, UploadPartCopyOutput,
    UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use tokio::sync::RwLock;

/// The largest body of one request, in bytes. Velero's uploader sends parts of 5 MiB and more; nothing in the lab
/// comes near this, and a body is held in memory.
const BODY_LIMIT: usize = 256 * 1024 * 1024;

/// An S3 backend whose changes happen one after the other, and whose reads see no half-done change.
#[derive(Debug)]
pub struct Ordered<B> {
    backend: B,
    /// Held for writing by whatever changes an object, for reading by whatever looks at one.
    order: RwLock<()>,
}

impl<B> Ordered<B> {
    /// Puts `backend`'s writes in order.
    pub fn new(backend: B) -> Self {
        Self { backend, order: RwLock::new(()) }
    }
}

/// Reads a request's body to its end, so that what follows depends on no network.
async fn whole(body: Option<StreamingBlob>) -> S3Result<Option<StreamingBlob>> {
    let Some(mut body) = body else { return Ok(None) };
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| s3_error!(IncompleteBody, "the body ended early: {error}"))?;
        if bytes.len() + chunk.len() > BODY_LIMIT {
            return Err(s3_error!(EntityTooLarge));
        }
        bytes.extend_from_slice(&chunk);
    }
    let bytes: Bytes = bytes.freeze();
    Ok(Some(StreamingBlob::wrap(stream::iter([Ok::<_, std::io::Error>(bytes)]))))
}

/// The whole implementation: two operations with a body, and a list of those that are only put in order. It is one
/// macro because `async_trait` sees the methods before a macro among them would be expanded.
macro_rules! ordered {
    ($($lock:ident $name:ident($input:ty) -> $output:ty;)*) => {
        #[async_trait]
        impl<B: S3> S3 for Ordered<B> {
            async fn put_object(
                &self,
                mut request: S3Request<PutObjectInput>,
            ) -> S3Result<S3Response<PutObjectOutput>> {
                request.input.body = whole(request.input.body.take()).await?;
                let _order = self.order.write().await;
                self.backend.put_object(request).await
            }

            async fn upload_part(
                &self,
                mut request: S3Request<UploadPartInput>,
            ) -> S3Result<S3Response<UploadPartOutput>> {
                request.input.body = whole(request.input.body.take()).await?;
                let _order = self.order.write().await;
                self.backend.upload_part(request).await
            }

            $(async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                let _order = self.order.$lock().await;
                self.backend.$name(request).await
            })*
        }
    };
}

ordered! {
    write create_bucket(CreateBucketInput) -> CreateBucketOutput;
    write delete_bucket(DeleteBucketInput) -> DeleteBucketOutput;
    write copy_object(CopyObjectInput) -> CopyObjectOutput;
    write delete_object(DeleteObjectInput) -> DeleteObjectOutput;
    write delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput;
    write create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput;
    write upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput;
    write complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput;
    write abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput;
    read get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput;
    read get_object(GetObjectInput) -> GetObjectOutput;
    read head_bucket(HeadBucketInput) -> HeadBucketOutput;
    read head_object(HeadObjectInput) -> HeadObjectOutput;
    read list_buckets(ListBucketsInput) -> ListBucketsOutput;
    read list_objects(ListObjectsInput) -> ListObjectsOutput;
    read list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output;
    read list_parts(ListPartsInput) -> ListPartsOutput;
}
