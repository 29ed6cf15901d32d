//! A library of another ABI version: what a JAR would load if it were mixed with the library of another release.

/// No release has had this number.
#[unsafe(no_mangle)]
pub extern "system" fn Java_io_sparkkinesis_bridge_NativeBridge_abiVersion(
    _env: *mut std::ffi::c_void,
    _class: *mut std::ffi::c_void,
) -> i32 {
    -1
}
