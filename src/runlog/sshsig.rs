//! Signatures that `ssh-keygen -Y verify` can check: SSHSIG over ed25519, with keys in OpenSSH's own forms.
//!
//! <https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig> and `PROTOCOL.key` beside it. The
//! arithmetic is `ring`'s, which TLS needs anyway; the forms around it are a few length-prefixed texts.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use sha2::{Digest as _, Sha256, Sha512};

/// What signatures of this program are for; a signature made for something else does not count.
pub const NAMESPACE: &str = "runbook";

const ED25519_NAME: &[u8] = b"ssh-ed25519";
const KEY_MAGIC: &[u8] = b"openssh-key-v1\0";
const SIGNATURE_MAGIC: &[u8] = b"SSHSIG";
const HASH_NAME: &[u8] = b"sha512";
const KEY_ARMOR: (&str, &str) = ("-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----");
const SIGNATURE_ARMOR: (&str, &str) = ("-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----");

/// Why nothing could be signed, or a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// It is no private key in OpenSSH's form.
    #[error("it is no private key in OpenSSH's form")]
    NoKey,
    /// The key is of another kind.
    #[error("it is a key of kind `{0}`; only `ssh-ed25519` keys sign here")]
    Kind(String),
    /// The key is protected by a passphrase.
    #[error("the key is protected by a passphrase, which cannot be asked for here")]
    Encrypted,
    /// It is no signature in the SSHSIG form.
    #[error("it is no signature in the SSHSIG form")]
    NoSignature,
    /// The signature was made for something else.
    #[error("it was made for `{0}`, not for `{NAMESPACE}`")]
    Namespace(String),
    /// The signature is not of this content.
    #[error("it is not a signature of this content")]
    Wrong,
    /// Nobody who is allowed made it.
    #[error("it was made with {0}, which is not among the allowed signers")]
    NotAllowed(Fingerprint),
    /// A line that names the key says more than is understood here.
    #[error("the line of {0} among the allowed signers has the option `{1}`, which is not understood here")]
    Option(Fingerprint, String),
}

/// An ed25519 key that signs.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: Vec<u8>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.fingerprint())
    }
}

/// How a key is told to people, as `ssh-keygen -l` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    fn of(blob: &[u8]) -> Self {
        Self(format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob))))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl SigningKey {
    /// Reads a private key file of `ssh-keygen -t ed25519`.
    pub fn read(text: &str) -> Result<Self, SignError> {
        let bytes = unarmored(text, KEY_ARMOR).ok_or(SignError::NoKey)?;
        let mut rest = bytes.strip_prefix(KEY_MAGIC).ok_or(SignError::NoKey)?;
        let rest = &mut rest;
        let cipher = string(rest).ok_or(SignError::NoKey)?;
        let _derivation = (string(rest).ok_or(SignError::NoKey)?, string(rest).ok_or(SignError::NoKey)?);
        let count = word(rest).ok_or(SignError::NoKey)?;
        let mut public = string(rest).ok_or(SignError::NoKey)?;
        let kind = string(&mut public).ok_or(SignError::NoKey)?;
        if kind != ED25519_NAME {
            return Err(SignError::Kind(String::from_utf8_lossy(kind).into_owned()));
        }
        if cipher != b"none" {
            return Err(SignError::Encrypted);
        }
        let mut secret = string(rest).ok_or(SignError::NoKey)?;
        let private = Self::private(&mut secret).filter(|_| count == 1).ok_or(SignError::NoKey)?;
        let (seed, public) = private.split_at_checked(32).ok_or(SignError::NoKey)?;
        let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| SignError::NoKey)?;
        Ok(Self { pair, public: public.to_vec() })
    }

    /// The 64 bytes of a private key: its seed and its public half. Two equal numbers before it prove the decryption.
    fn private<'k>(secret: &mut &'k [u8]) -> Option<&'k [u8]> {
        let checks = (word(secret)?, word(secret)?);
        let kind = string(secret)?;
        let public = string(secret)?;
        let private = string(secret)?;
        let fits = checks.0 == checks.1 && kind == ED25519_NAME && private.get(32..) == Some(public);
        (fits && private.len() == 64).then_some(private)
    }

    /// How the key is told to people.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&public_blob(&self.public))
    }

    /// A signature in the SSHSIG form, with its armor.
    pub fn sign(&self, message: &[u8]) -> String {
        let signed = self.pair.sign(&to_sign(NAMESPACE.as_bytes(), message));
        blob(&public_blob(&self.public), signed.as_ref())
    }
}

/// A signature in its armor, lines as `ssh-keygen` breaks them.
fn blob(public: &[u8], signed: &[u8]) -> String {
    let mut bytes = SIGNATURE_MAGIC.to_vec();
    bytes.extend_from_slice(&1u32.to_be_bytes());
    put(&mut bytes, public);
    put(&mut bytes, NAMESPACE.as_bytes());
    put(&mut bytes, b"");
    put(&mut bytes, HASH_NAME);
    let mut inner = Vec::new();
    put(&mut inner, ED25519_NAME);
    put(&mut inner, signed);
    put(&mut bytes, &inner);
    let text = STANDARD.encode(bytes);
    let mut armored = format!("{}\n", SIGNATURE_ARMOR.0);
    for line in text.as_bytes().chunks(70) {
        armored.push_str(&String::from_utf8_lossy(line));
        armored.push('\n');
    }
    armored + SIGNATURE_ARMOR.1 + "\n"
}

/// What the key really signs: the hash of the message, bound to a purpose.
fn to_sign(namespace: &[u8], message: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE_MAGIC.to_vec();
    put(&mut bytes, namespace);
    put(&mut bytes, b"");
    put(&mut bytes, HASH_NAME);
    put(&mut bytes, &Sha512::digest(message));
    bytes
}

/// A signature that fits its content. Whether its maker is allowed is another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    public: Vec<u8>,
}

impl Signed {
    /// Checks a signature against the content it should be of, with the key that it names itself.
    pub fn check(signature: &str, message: &[u8]) -> Result<Self, SignError> {
        let bytes = unarmored(signature, SIGNATURE_ARMOR).ok_or(SignError::NoSignature)?;
        let (public, namespace, signed) = Self::parts(&bytes).ok_or(SignError::NoSignature)?;
        if namespace != NAMESPACE.as_bytes() {
            return Err(SignError::Namespace(String::from_utf8_lossy(namespace).into_owned()));
        }
        let key = ed25519_of(public).ok_or_else(|| kind_of(public))?;
        UnparsedPublicKey::new(&ED25519, key)
            .verify(&to_sign(namespace, message), signed)
            .map_err(|_| SignError::Wrong)?;
        Ok(Self { public: public.to_vec() })
    }

    /// Public key, namespace and the bare signature.
    fn parts(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
        let mut rest = bytes.strip_prefix(SIGNATURE_MAGIC)?;
        let rest = &mut rest;
        let version = word(rest)?;
        let (public, namespace, _reserved, hash) = (string(rest)?, string(rest)?, string(rest)?, string(rest)?);
        let mut inner = string(rest)?;
        let (kind, signed) = (string(&mut inner)?, string(&mut inner)?);
        let fits = version == 1 && hash == HASH_NAME && kind == ED25519_NAME && inner.is_empty() && rest.is_empty();
        fits.then_some((public, namespace, signed))
    }

    /// How the key that made it is told to people.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.public)
    }

    /// Who made it, among the signers of a file: the form of `allowed_signers` in `ssh-keygen(1)`, or public keys. A
    /// line with an option that is not understood does not count.
    pub fn by(&self, allowed: &str) -> Result<String, SignError> {
        let mut refused = SignError::NotAllowed(self.fingerprint());
        for line in allowed.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some(kind) = words.iter().position(|word| word.as_bytes() == ED25519_NAME) else { continue };
            let key = words.get(kind + 1).and_then(|text| STANDARD.decode(text).ok());
            if key.as_ref() != Some(&self.public) {
                continue;
            }
            match words[..kind] {
                // A public key file: its comment is its name.
                [] => return Ok(words.get(2).copied().unwrap_or("a key without a name").to_owned()),
                [principal] => return Ok(principal.to_owned()),
                [principal, options] => match not_understood(options) {
                    None => return Ok(principal.to_owned()),
                    Some(option) => refused = SignError::Option(self.fingerprint(), option),
                },
                _ => refused = SignError::Option(self.fingerprint(), words[1..kind].join(" ")),
            }
        }
        Err(refused)
    }
}

/// The first option that keeps a line from counting here. `namespaces` counts when it names ours.
fn not_understood(options: &str) -> Option<String> {
    let listed = options.strip_prefix("namespaces=\"").and_then(|rest| rest.strip_suffix('"'));
    match listed {
        Some(names) if !names.contains('"') && names.split(',').any(|name| name == NAMESPACE) => None,
        _ => Some(options.to_owned()),
    }
}

/// The public key as SSH writes it.
fn public_blob(key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, ED25519_NAME);
    put(&mut bytes, key);
    bytes
}

fn ed25519_of(mut blob: &[u8]) -> Option<&[u8]> {
    let (kind, key) = (string(&mut blob)?, string(&mut blob)?);
    (kind == ED25519_NAME && key.len() == 32 && blob.is_empty()).then_some(key)
}

fn kind_of(mut blob: &[u8]) -> SignError {
    string(&mut blob).map_or(SignError::NoSignature, |kind| SignError::Kind(String::from_utf8_lossy(kind).into_owned()))
}

fn unarmored(text: &str, (begin, end): (&str, &str)) -> Option<Vec<u8>> {
    let inside = text.trim().strip_prefix(begin)?.strip_suffix(end)?;
    let digits: String = inside.split_ascii_whitespace().collect();
    STANDARD.decode(digits).ok()
}

fn word(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_be_bytes(*bytes))
}

fn string<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(word(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

fn put(bytes: &mut Vec<u8>, text: &[u8]) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(text);
}
