//! The `monai` program as a library: the node daemon and the commands that wire everything.
