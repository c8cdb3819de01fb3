//! Where files are cut. The only module that names `fastcdc`.
