//! Agglomerative clustering for a bounded number of embeddings.
