//! Which code the tests' build has: `cfg` attributes, as for a plain build of the library on Linux.

use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Token};

/// Whether the library has what carries these attributes. Code for tests only is not the library's.
pub fn is_built(attributes: &[Attribute]) -> bool {
    attributes.iter().all(|attribute| {
        let is_test = attribute.path().is_ident("test");
        let is_cfg = attribute.path().is_ident("cfg");
        !is_test && (!is_cfg || attribute.parse_args::<Meta>().is_ok_and(|rule| holds(&rule)))
    })
}

/// Whether a predicate holds. Unknown names don't: they are doors for tools, such as `loom`.
fn holds(rule: &Meta) -> bool {
    match rule {
        Meta::Path(path) => path.is_ident("unix") || path.is_ident("debug_assertions"),
        Meta::NameValue(pair) => {
            let holding = ["linux", "x86_64", "64", "unix"];
            matches!(&pair.value, syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(value), .. })
                if holding.contains(&value.value().as_str()))
        }
        Meta::List(list) => {
            let all = Punctuated::<Meta, Token![,]>::parse_terminated;
            let Ok(rules) = list.parse_args_with(all) else { return false };
            let mut rules = rules.iter().map(holds);
            match () {
                () if list.path.is_ident("all") => rules.all(|holds| holds),
                () if list.path.is_ident("any") => rules.any(|holds| holds),
                () if list.path.is_ident("not") => !rules.any(|holds| holds),
                () => false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_build_on_linux() {
        let built = |source: &str| {
            let item: syn::ItemFn = syn::parse_str(&format!("{source} fn f() {{}}")).unwrap();
            is_built(&item.attrs)
        };
        assert!(built("#[inline]"));
        assert!(built("#[cfg(not(loom))]"));
        assert!(built("#[cfg(all(not(loom), target_pointer_width = \"64\"))]"));
        assert!(built("#[cfg(not(any(loom, bufferedwriter_portable)))]"));
        assert!(!built("#[cfg(loom)]"));
        assert!(!built("#[cfg(test)]"));
        assert!(!built("#[cfg(all(test, not(loom)))]"));
        assert!(!built("#[test]"));
    }
}
