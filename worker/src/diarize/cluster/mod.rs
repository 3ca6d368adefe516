//! Finding the speakers: from embeddings to clusters.

pub mod kmeans;
pub mod laplacian;
pub mod linkage;
pub mod neighbours;
