//! `getLastError`: the members that the last legacy write has reached.

use super::rules::Rule;

/// `writtenTo` is a list of names, or null (4.4.2).
pub(super) const RULE: Rule = Rule::Fields(&[
    ("writtenTo", Rule::Each(&Rule::Name)),
    ("err", Rule::Text),
    ("errmsg", Rule::Text),
    ("$err", Rule::Text),
]);
