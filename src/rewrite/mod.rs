//! Replies and requests that name members, edited so that clients stay on torana.
