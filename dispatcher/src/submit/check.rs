//! What can be refused of a submission before anything is looked up. Pure.

use common::adapter::s3::S3Location;
use common::adapter::web::{self, Audience};
use common::job::spec::SourceRef;
use common::object_key;
use common::port::job_store::Idempotency;
use common::port::object_store::KEY_BYTES_MAX;
use common::reach::{Place, Reach};

use super::Terms;
use super::error::SubmitError;
use crate::wire::request::Wishes;

/// Room for what is put behind an output's prefix: the job's id, a `/`, and the longest name of a document.
const OUTPUT_NAME_BYTES: usize = 100;

/// What can be refused without looking anything up.
///
/// # Errors
/// The first wish that cannot be granted.
pub fn check(wishes: &Wishes, terms: &Terms) -> Result<(), SubmitError> {
    // A specification with another recording has the same bounds.
    wishes.spec(SourceRef::at("s3://bucket/key"), None)?;
    if let Some(key) = &wishes.idempotency_key {
        Idempotency::new(key)?;
    }
    if let Some(uri) = wishes.bundle.iter().find(|bundle| bundle.contains('/'))
        && matches!(terms.reach.place(uri), Place::Web | Place::Outside)
    {
        return Err(SubmitError::NotAllowed { uri: uri.clone() });
    }
    wishes.output.iter().try_for_each(|uri| check_output(uri, &terms.reach))?;
    wishes.callback_url.iter().try_for_each(|url| check_callback(url, terms))
}

/// Whether documents may be copied below an address: S3 alone, and nothing that has a meaning of its own.
fn check_output(uri: &str, reach: &Reach) -> Result<(), SubmitError> {
    let not_allowed = || SubmitError::NotAllowed { uri: uri.to_owned() };
    if !reach.store().to_string().starts_with("s3://") {
        return Err(SubmitError::OutputOfFolder { uri: uri.to_owned() });
    }
    if !uri.starts_with("s3://") {
        return Err(not_allowed());
    }
    match reach.place(uri) {
        Place::Store(key) if object_key::is_reserved(key) => {
            return Err(SubmitError::Reserved { uri: uri.to_owned() });
        }
        Place::Store(_) | Place::Allowed => {}
        Place::Web | Place::Outside => return Err(not_allowed()),
    }
    let location: Result<S3Location, _> = uri.parse();
    let room = |location: &S3Location| location.prefix().len() + OUTPUT_NAME_BYTES <= KEY_BYTES_MAX;
    if location.as_ref().is_ok_and(room) { Ok(()) } else { Err(SubmitError::Output { uri: uri.to_owned() }) }
}

/// Whether a webhook can ever reach an address.
fn check_callback(url: &str, terms: &Terms) -> Result<(), SubmitError> {
    if !terms.signs_webhooks {
        return Err(SubmitError::NoWebhookSecret { url: url.to_owned() });
    }
    let audience = match terms.reach.place(url) {
        Place::Allowed => Audience::Allowed,
        Place::Store(_) | Place::Web | Place::Outside => Audience::Public,
    };
    let refused = |source| SubmitError::Callback { url: url.to_owned(), source };
    web::target(url, audience).and_then(|uri| web::may_be_asked(&uri, audience)).map_err(refused)
}
