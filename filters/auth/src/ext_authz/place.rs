//! Where the words of a service stand, to tell what is wrong with them.

use sidegate_sdk::Setup;

/// A place of the configuration, or what it refers to outside of it.
pub(crate) struct Place<'s> {
    pub(crate) setup: &'s mut Setup,
    pub(crate) pointer: String,
    /// The extension provider that the words are of; the pointer is then where its name stands.
    pub(crate) provider: Option<String>,
}

impl Place<'_> {
    /// Tells an error of the word at `key`, a pointer from here.
    pub(crate) fn error(&mut self, key: &str, text: &str) {
        let (pointer, text) = self.told(key, text);
        self.setup.error(pointer, text);
    }

    /// Likewise something odd.
    pub(crate) fn warning(&mut self, key: &str, text: &str) {
        let (pointer, text) = self.told(key, text);
        self.setup.warning(pointer, text);
    }

    fn told(&self, key: &str, text: &str) -> (String, String) {
        match &self.provider {
            None => (format!("{}/{key}", self.pointer), text.to_owned()),
            Some(name) => (self.pointer.clone(), format!("extension provider `{name}`, {key}: {text}")),
        }
    }
}
