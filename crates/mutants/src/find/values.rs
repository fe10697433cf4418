//! What a function can return in place of what it computes, by its type: as cargo-mutants does.

use syn::{GenericArgument, PathArguments, PathSegment, ReturnType, Type};

/// More than this is no help: tuples multiply.
const MAX: usize = 12;

/// Expressions of the type that a function returns.
pub fn of_return(output: &ReturnType) -> Vec<String> {
    match output {
        ReturnType::Default => vec!["()".into()],
        ReturnType::Type(_, kind) => of(kind),
    }
}

/// Expressions of this type.
fn of(kind: &Type) -> Vec<String> {
    let mut values = match kind {
        Type::Never(_) => vec![],
        Type::Paren(inner) => of(&inner.elem),
        Type::Group(inner) => of(&inner.elem),
        Type::Path(path) => path.path.segments.last().map(of_name).unwrap_or_default(),
        Type::Tuple(tuple) => of_tuple(&tuple.elems.iter().map(of).collect::<Vec<_>>()),
        Type::Array(array) => each("[{}; _]", of(&array.elem)),
        Type::Slice(slice) => leaked(&slice.elem),
        Type::Reference(reference) => of_reference(reference),
        Type::ImplTrait(_) => vec!["::std::iter::empty()".into()],
        Type::Ptr(_) | Type::FnPtr(_) | Type::TraitObject(_) => vec![],
        _ => vec!["Default::default()".into()],
    };
    values.truncate(MAX);
    values
}

/// Each value put where `{}` stands.
fn each(around: &str, values: Vec<String>) -> Vec<String> {
    values.iter().map(|value| around.replace("{}", value)).collect()
}

fn of_name(name: &PathSegment) -> Vec<String> {
    let fixed = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let inner = || arguments(name).first().map(|kind| of(kind)).unwrap_or_default();
    let ident = name.ident.to_string();
    match ident.as_str() {
        "bool" => fixed(&["true", "false"]),
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => fixed(&["0", "1"]),
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => fixed(&["0", "1", "-1"]),
        "f32" | "f64" => fixed(&["0.0", "1.0", "-1.0"]),
        "String" => fixed(&["String::new()", "\"xyzzy\".into()"]),
        "Result" => each("Ok({})", inner()),
        "Option" => [vec!["None".into()], each("Some({})", inner())].concat(),
        "Vec" => [vec!["vec![]".into()], each("vec![{}]", inner())].concat(),
        "Box" | "Arc" | "Rc" | "Mutex" | "Cell" | "RefCell" => {
            let around = format!("{ident}::new({{}})");
            each(&around, inner())
        }
        "BTreeSet" | "HashSet" | "VecDeque" | "BinaryHeap" => {
            let around = format!("{ident}::from_iter([{{}}])");
            [vec![format!("{ident}::new()")], each(&around, inner())].concat()
        }
        "BTreeMap" | "HashMap" => vec![format!("{ident}::new()")],
        _ => fixed(&["Default::default()"]),
    }
}

/// The types in angle brackets.
fn arguments(name: &PathSegment) -> Vec<&Type> {
    let PathArguments::AngleBracketed(arguments) = &name.arguments else { return vec![] };
    let kinds = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(kind) => Some(kind),
        _ => None,
    });
    kinds.collect()
}

/// Each combination of the parts' values.
fn of_tuple(parts: &[Vec<String>]) -> Vec<String> {
    let mut all = vec![String::new()];
    for values in parts {
        let longer = |start: &String| -> Vec<String> {
            values.iter().map(|value| format!("{start}{value}, ")).collect()
        };
        all = all.iter().flat_map(longer).collect();
    }
    let closed = |inner: &String| match parts.len() {
        1 => format!("({inner})"),
        _ => format!("({})", inner.trim_end_matches(", ")),
    };
    all.iter().map(closed).collect()
}

fn of_reference(reference: &syn::TypeReference) -> Vec<String> {
    match &*reference.elem {
        Type::Path(path) if path.path.is_ident("str") => {
            vec!["\"\"".into(), "\"xyzzy\"".into()]
        }
        Type::Slice(slice) => leaked(&slice.elem),
        _ if reference.mutability.is_some() => each("Box::leak(Box::new({}))", of(&reference.elem)),
        kind => each("&{}", of(kind)),
    }
}

/// Slices that live for ever.
fn leaked(element: &Type) -> Vec<String> {
    let one = each("Vec::leak(vec![{}])", of(element));
    [vec!["Vec::leak(Vec::new())".into()], one].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(kind: &str) -> Vec<String> {
        of(&syn::parse_str(kind).unwrap())
    }

    #[test]
    fn values_of_a_type() {
        assert_eq!(values("bool"), ["true", "false"]);
        assert_eq!(values("io::Result<()>"), ["Ok(())"]);
        assert_eq!(values("Result<Option<u8>, E>"), ["Ok(None)", "Ok(Some(0))", "Ok(Some(1))"]);
        assert_eq!(values("(bool, u8)").len(), 4);
        assert_eq!(values("(u8,)"), ["(0, )", "(1, )"]);
        assert_eq!(values("&'a str"), ["\"\"", "\"xyzzy\""]);
        assert_eq!(values("Vec<Name>"), ["vec![]", "vec![Default::default()]"]);
        assert!(values("!").is_empty());
    }
}
