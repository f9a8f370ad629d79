//! What an error of the module means for a process that is cheap to replace.

use std::fmt::Write as _;

use cryptoki::error::{Error, RvError};

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Once more, in a new session.
    Session,
    /// Look the key up again, then once more.
    Handle,
    /// The token cannot do what was asked, however often.
    Mechanism,
    /// The request is at fault.
    Refused,
    /// Never by ourselves: an operator has to look.
    Pin,
    /// The token may be gone. If the health key signs it was only this request; if not, the process has to be replaced.
    Suspect,
}

/// Sorts errors. Whatever is not known, vendors' own codes included, is suspect.
pub(super) fn classify(error: &Error) -> Class {
    use RvError as Rv;
    let Error::Pkcs11(code, _) = error else {
        return match error {
            Error::NotSupported | Error::NullFunctionPointer => Class::Mechanism,
            _ => Class::Suspect,
        };
    };
    match code {
        Rv::OperationActive
        | Rv::OperationNotInitialized
        | Rv::SessionHandleInvalid
        | Rv::SessionClosed
        | Rv::SessionCount
        | Rv::FunctionFailed
        | Rv::FunctionCanceled
        | Rv::HostMemory
        | Rv::DeviceMemory => Class::Session,
        Rv::ObjectHandleInvalid | Rv::KeyHandleInvalid => Class::Handle,
        Rv::MechanismInvalid | Rv::MechanismParamInvalid | Rv::FunctionNotSupported | Rv::CurveNotSupported | Rv::KeySizeRange => {
            Class::Mechanism
        }
        Rv::ArgumentsBad
        | Rv::ActionProhibited
        | Rv::AttributeReadOnly
        | Rv::AttributeSensitive
        | Rv::AttributeTypeInvalid
        | Rv::AttributeValueInvalid
        | Rv::TemplateIncomplete
        | Rv::TemplateInconsistent
        | Rv::DataInvalid
        | Rv::DataLenRange
        | Rv::DomainParamsInvalid
        | Rv::KeyFunctionNotPermitted
        | Rv::KeyTypeInconsistent
        | Rv::TokenWriteProtected => Class::Refused,
        Rv::PinIncorrect | Rv::PinInvalid | Rv::PinLenRange | Rv::PinExpired | Rv::PinLocked => Class::Pin,
        _ => Class::Suspect,
    }
}

/// Whether a failed C_Login may be tried again by a new process. Only where the token was surely not asked about the PIN; whoever guesses
/// here locks tokens.
pub(super) fn login_may_be_retried(error: &Error) -> bool {
    use RvError as Rv;
    let Error::Pkcs11(code, _) = error else { return false };
    matches!(
        code,
        Rv::CryptokiNotInitialized
            | Rv::DeviceError
            | Rv::DeviceMemory
            | Rv::DeviceRemoved
            | Rv::FunctionCanceled
            | Rv::GeneralError
            | Rv::HostMemory
            | Rv::SessionClosed
            | Rv::SessionHandleInvalid
            | Rv::TokenNotPresent
            // There is no PIN yet that a try could lock.
            | Rv::UserPinNotInitialized
    )
}

/// The standard's own names, `C_Sign: CKR_DEVICE_ERROR`, instead of the library's paragraph on each.
pub(super) fn name(error: &Error) -> String {
    match error {
        Error::Pkcs11(RvError::VendorDefined(code), function) => format!("C_{function:?}: CKR_VENDOR_DEFINED+{code:#x}"),
        Error::Pkcs11(RvError::UnknownErrorCode(code), function) => format!("C_{function:?}: {code:#x}"),
        Error::Pkcs11(code, function) => {
            let mut text = format!("C_{function:?}: CKR");
            for c in format!("{code:?}").chars() {
                if c.is_ascii_uppercase() {
                    text.push('_');
                }
                let _ = write!(text, "{}", c.to_ascii_uppercase());
            }
            text
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    fn error(code: RvError) -> Error {
        Error::Pkcs11(code, Function::Sign)
    }

    #[test]
    fn names_are_the_standards() {
        assert_eq!(name(&error(RvError::DeviceError)), "C_Sign: CKR_DEVICE_ERROR");
        assert_eq!(name(&error(RvError::UserAlreadyLoggedIn)), "C_Sign: CKR_USER_ALREADY_LOGGED_IN");
        assert_eq!(name(&error(RvError::UnknownErrorCode(0x1234))), "C_Sign: 0x1234");
    }

    #[test]
    fn the_unknown_is_suspect_and_a_pin_is_never_retried() {
        for code in [RvError::GeneralError, RvError::DeviceRemoved, RvError::UserNotLoggedIn, RvError::UnknownErrorCode(7)] {
            assert_eq!(classify(&error(code)), Class::Suspect, "{code:?}");
        }
        for code in [RvError::PinIncorrect, RvError::PinLocked, RvError::PinExpired, RvError::PinLenRange] {
            assert_eq!(classify(&error(code)), Class::Pin);
            assert!(!login_may_be_retried(&error(code)));
        }
        assert!(!login_may_be_retried(&error(RvError::ArgumentsBad)), "some modules say so of a PIN");
        assert!(!login_may_be_retried(&error(RvError::FunctionFailed)));
    }
}
