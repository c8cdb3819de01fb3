//! Which proxy to go through: the one that was asked for, or what the given environment says (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`).

use std::fmt;

use reqwest::{NoProxy, Proxy};

use crate::store::options::StoreOptions;

type MakeProxy = fn(&str) -> reqwest::Result<Proxy>;

/// The proxies of a store; the first that fits a request is used.
#[derive(Clone)]
pub(super) struct Proxies(Vec<Proxy>);

impl Proxies {
    /// # Errors
    /// A sentence for people when an address is no URL. It does not repeat the address, which may hold a password.
    pub(super) fn new(options: &StoreOptions) -> Result<Self, String> {
        if let Some(address) = &options.proxy {
            if address.is_empty() {
                return Ok(Self(Vec::new()));
            }
            let proxy = Proxy::all(address).map_err(|_| "The proxy's address is not a URL".to_owned())?;
            return Ok(Self(vec![proxy]));
        }
        let except = options.variable_of(&["NO_PROXY", "no_proxy"]).unwrap_or("");
        let kinds: [(&[&str], MakeProxy); 3] = [
            (&["https_proxy", "HTTPS_PROXY"], |address| Proxy::https(address)),
            (&["http_proxy", "HTTP_PROXY"], |address| Proxy::http(address)),
            (&["all_proxy", "ALL_PROXY"], |address| Proxy::all(address)),
        ];
        let mut proxies = Vec::new();
        for (names, make) in kinds {
            if let Some(address) = options.variable_of(names) {
                let proxy = make(address).map_err(|_| format!("{} is not a proxy's URL", names.join(" or ")))?;
                proxies.push(proxy.no_proxy(NoProxy::from_string(except)));
            }
        }
        Ok(Self(proxies))
    }

    pub(super) fn all(&self) -> &[Proxy] {
        &self.0
    }
}

impl fmt::Debug for Proxies {
    /// How many: their addresses may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxies({})", self.0.len())
    }
}
