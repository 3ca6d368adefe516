//! Model bundles: how they are made, checked, kept on disk and published.
