//! From `pxc-link.yaml` to a validated `LinkSpec`; the only place that reads or writes YAML.

pub(crate) mod manifest;
