//! In place of `cuda` in a build without it: the same names, and one reason.

use std::sync::Arc;

use common::home::Home;

use super::bundle::Bundle;
use super::engine::{Engine, EngineError};
use super::gauges::GaugeSource;
use crate::batch::plan::Limits;

/// The reason.
#[derive(Debug, thiserror::Error)]
#[error("this program was built without CUDA")]
pub struct CudaError;

impl CudaError {
    /// It is one.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        true
    }

    /// What to try.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        vec!["build the worker with its default features, or use `--device cpu`".to_owned()]
    }
}

/// There is none.
#[derive(Debug, Clone, Copy)]
pub enum Found {}

/// What is wanted of a card.
#[derive(Debug, Clone)]
pub struct CudaSetup {
    /// Memory that may be used: bytes, or a share of the card.
    pub memory: String,
    /// Engines; `None` for the default.
    pub lanes: Option<usize>,
    /// Most rows of a batch, for both networks; `None` for the defaults.
    pub batch_rows: Option<usize>,
}

/// There is none.
#[derive(Debug, Clone, Copy)]
pub struct Prepared(Found);

/// There is none.
#[derive(Debug, Clone, Copy)]
pub struct NoEngine(Found);

/// Finds no card.
///
/// # Errors
/// Always.
pub fn look(_: &Home, _: u32) -> Result<Found, CudaError> {
    Err(CudaError)
}

/// Needs a card.
///
/// # Errors
/// Never: there is nothing to begin with.
pub fn prepare(found: &Found, _: &Bundle, _: &Home, _: &CudaSetup) -> Result<Prepared, CudaError> {
    match *found {}
}

impl Found {
    /// Nobody can ask.
    #[must_use]
    pub fn name(&self) -> &str {
        match *self {}
    }
}

impl Prepared {
    /// Nobody can ask; likewise below.
    ///
    /// # Errors
    /// Never.
    pub fn engine(&self) -> Result<NoEngine, EngineError> {
        match self.0 {}
    }

    /// See [`Prepared::engine`].
    #[must_use]
    pub fn limits(&self) -> Limits {
        match self.0 {}
    }

    /// See [`Prepared::engine`].
    #[must_use]
    pub fn name(&self) -> &str {
        match self.0 {}
    }

    /// See [`Prepared::engine`].
    #[must_use]
    pub fn label(&self) -> String {
        match self.0 {}
    }

    /// See [`Prepared::engine`].
    #[must_use]
    pub fn gauges(&self) -> Arc<dyn GaugeSource> {
        match self.0 {}
    }
}

impl NoEngine {
    /// See [`Prepared::engine`].
    ///
    /// # Errors
    /// Never.
    pub fn warm_up(&mut self, _: &common::model::manifest::Manifest, _: &[f32]) -> Result<(), EngineError> {
        match self.0 {}
    }
}

impl Engine for NoEngine {
    fn segment(&mut self, _: &[&[f32]], _: &mut Vec<f32>) -> Result<(), EngineError> {
        match self.0 {}
    }

    fn embed(&mut self, _: &[&[f32]], _: &mut Vec<f32>) -> Result<(), EngineError> {
        match self.0 {}
    }
}
