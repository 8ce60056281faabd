//! The HTTP endpoint for operators: /metrics, /healthz, /readyz.
