//! Why a request is refused: what the client sees of it, and what log and metrics say.

/// A reason. The client sees status and challenge only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The token is none.
    JwtBadFormat,
    /// More tokens than a request may have.
    JwtTooMany,
    /// No rule is for the issuer, in the place where the token was found.
    JwtUnknownIssuer,
    /// None of the audiences is ours.
    JwtAudience,
    /// `exp` has passed.
    JwtExpired,
    /// `nbf` has not come.
    JwtNotYetValid,
    /// The signature does not fit the key.
    JwtSignature,
    /// There is no key with this id or for this algorithm.
    JwtNoKey,
    /// The keys could not be fetched yet.
    JwksUnavailable,
    /// No API key and no password, where one is needed.
    CredentialMissing,
    /// An API key or password that is not ours.
    CredentialWrong,
    /// A DENY policy matched.
    PolicyDenied,
    /// No ALLOW policy matched.
    PolicyNotAllowed,
    /// The external service said no.
    ExternalDenied,
    /// The external service gave no answer.
    ExternalError,
    /// The body is larger than what the external service may be told.
    ExternalBodyTooLarge,
}

impl Reason {
    /// The status for the client.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::JwtAudience | Self::PolicyDenied | Self::PolicyNotAllowed => 403,
            Self::ExternalDenied | Self::ExternalError => 403,
            Self::ExternalBodyTooLarge => 413,
            _ => 401,
        }
    }

    /// The name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::JwtBadFormat => "jwt_bad_format",
            Self::JwtTooMany => "jwt_too_many",
            Self::JwtUnknownIssuer => "jwt_unknown_issuer",
            Self::JwtAudience => "jwt_audience",
            Self::JwtExpired => "jwt_expired",
            Self::JwtNotYetValid => "jwt_not_yet_valid",
            Self::JwtSignature => "jwt_signature",
            Self::JwtNoKey => "jwt_no_key",
            Self::JwksUnavailable => "jwks_unavailable",
            Self::CredentialMissing => "credential_missing",
            Self::CredentialWrong => "credential_wrong",
            Self::PolicyDenied => "policy_denied",
            Self::PolicyNotAllowed => "policy_not_allowed",
            Self::ExternalDenied => "ext_authz_denied",
            Self::ExternalError => "ext_authz_error",
            Self::ExternalBodyTooLarge => "ext_authz_body_too_large",
        }
    }

    /// The response code details, in Envoy's words where it has some.
    #[must_use]
    pub fn details(self) -> &'static str {
        match self {
            Self::JwtBadFormat => "jwt_authn_access_denied{Jwt_is_not_in_the_form_of_Header.Payload.Signature}",
            Self::JwtTooMany => "jwt_authn_access_denied{Too_many_Jwts}",
            Self::JwtUnknownIssuer => "jwt_authn_access_denied{Jwt_issuer_is_not_configured}",
            Self::JwtAudience => "jwt_authn_access_denied{Audiences_in_Jwt_are_not_allowed}",
            Self::JwtExpired => "jwt_authn_access_denied{Jwt_is_expired}",
            Self::JwtNotYetValid => "jwt_authn_access_denied{Jwt_not_yet_valid}",
            Self::JwtSignature => "jwt_authn_access_denied{Jwt_verification_fails}",
            Self::JwtNoKey => "jwt_authn_access_denied{Jwks_doesn't_have_key_to_match_kid_or_alg_from_Jwt}",
            Self::JwksUnavailable => "jwt_authn_access_denied{Jwks_remote_fetch_is_failed}",
            Self::CredentialMissing => "auth_credential_missing",
            Self::CredentialWrong => "auth_credential_wrong",
            Self::PolicyDenied | Self::PolicyNotAllowed => "rbac_access_denied",
            Self::ExternalDenied => "ext_authz_denied",
            Self::ExternalError => "ext_authz_error",
            Self::ExternalBodyTooLarge => "request_payload_too_large",
        }
    }

    /// Whether it is about a token that the client sent.
    pub(crate) fn is_of_token(self) -> bool {
        self.status() == 401 && !matches!(self, Self::CredentialMissing | Self::CredentialWrong)
    }
}
