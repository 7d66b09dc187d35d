//! Links the cdylib as Node expects an addon.

fn main() {
    napi_build::setup();
}
