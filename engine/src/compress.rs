//! Compression of blobs. The only module that names `zstd`.
