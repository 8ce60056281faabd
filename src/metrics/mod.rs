//! Prometheus metrics: families, and children resolved once.
