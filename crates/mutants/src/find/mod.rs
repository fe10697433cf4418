//! Finds the mutants of a file: the same kinds as cargo-mutants', where the source lets the run choose.
//!
//! Unsafe functions, functions called `new`, implementations of `Default`, macros and code for tests are left alone,
//! as by cargo-mutants.

mod cfg;
mod operators;
mod values;

use std::ops::Range;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Arm, Attribute, BinOp, Block, Expr, Pat, ReturnType, Safety, Signature, Type, UnOp};

use crate::mutant::{Found, Mutant, Shape, Site};

pub use cfg::is_built;

/// The mutants of a file with this path and text.
pub fn find(path: &str, text: &str) -> syn::Result<Found> {
    let file = syn::parse_file(text)?;
    let mut finder =
        Finder { path, text, names: vec![], is_constant: false, found: <_>::default() };
    finder.visit_file(&file);
    Ok(finder.found)
}

/// Walks through a file.
struct Finder<'a> {
    path: &'a str,
    text: &'a str,
    /// The type and the functions around.
    names: Vec<String>,
    /// Whether the compiler computes what is here.
    is_constant: bool,
    found: Found,
}

impl Finder<'_> {
    fn range(&self, node: &impl Spanned) -> Range<usize> {
        node.span().byte_range()
    }

    /// The text of a part as it is.
    fn text(&self, node: &impl Spanned) -> String {
        self.text[self.range(node)].to_owned()
    }

    /// The text of a part, in one line.
    fn line(&self, node: &impl Spanned) -> String {
        self.text[self.range(node)].split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The text of a part as an operand.
    fn operand(&self, node: &impl Spanned) -> String {
        format!("({})", &self.text[self.range(node)])
    }

    /// Adds the mutants of one place: what each is called, and its code.
    fn add(&mut self, at: &impl Spanned, shape: Shape, choices: Vec<(String, String)>) {
        let start = at.span().start();
        let place = format!("{}:{}:{}", self.path, start.line, start.column + 1);
        let around = match self.names.as_slice() {
            [] => String::new(),
            names => format!(" in {}", names.join("::")),
        };
        let first = self.found.mutants.len();
        for (what, _) in &choices {
            let around = if matches!(shape, Shape::Return(_)) { "" } else { &around };
            let name = format!("{place}: {what}{around}");
            self.found.mutants.push(Mutant { name, is_choosable: !self.is_constant });
        }
        if !self.is_constant && !choices.is_empty() {
            let choices = choices.into_iter().enumerate();
            let choices = choices.map(|(index, (_, code))| (first + index, code)).collect();
            self.found.sites.push(Site { shape, choices });
        }
    }

    fn within(&mut self, name: String, walk: impl FnOnce(&mut Self)) {
        self.names.push(name);
        walk(self);
        self.names.pop();
    }

    fn constant(&mut self, walk: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.is_constant, true);
        walk(self);
        self.is_constant = before;
    }

    /// A function that has a body.
    fn function(&mut self, attributes: &[Attribute], signature: &Signature, body: &Block) {
        let is_unsafe = matches!(signature.safety, Safety::Unsafe(_));
        if is_unsafe || !is_built(attributes) || body.stmts.is_empty() {
            return;
        }
        let before = self.is_constant;
        self.is_constant = before || signature.constness.is_some();
        self.within(signature.ident.to_string(), |finder| {
            finder.body(signature, body);
            visit::visit_block(finder, body);
        });
        self.is_constant = before;
    }

    /// Other values that a function can return at once.
    fn body(&mut self, signature: &Signature, body: &Block) {
        let inner = self.range(body).start + 1..self.range(body).end - 1;
        let own = self.text[inner.clone()].trim().to_owned();
        let (arrow, is_hidden) = match &signature.output {
            ReturnType::Default => (String::new(), false),
            ReturnType::Type(_, kind) => {
                (format!(" -> {}", self.line(kind)), matches!(**kind, Type::ImplTrait(_)))
            }
        };
        let function = self.names.join("::");
        let values = values::of_return(&signature.output).into_iter();
        let choices = values
            .filter(|value| *value != own)
            .map(|value| (format!("replace {function}{arrow} with {value}"), value))
            .collect();
        // The type that `impl Trait` hides is the body's own.
        let before = self.is_constant;
        self.is_constant |= is_hidden;
        self.add(&body.stmts[0], Shape::Return(inner.start), choices);
        self.is_constant = before;
    }

    /// An arm that can be left out if there is one for all else.
    fn arm(&mut self, arm: &Arm, has_wildcard: bool) {
        if !is_built(&arm.attrs) {
            return;
        }
        let (pattern, guard) = match &arm.pat {
            Pat::Guard(guarded) => (&*guarded.pat, Some(&*guarded.guard)),
            pattern => (pattern, None),
        };
        if has_wildcard && !matches!(pattern, Pat::Wild(_)) {
            let shape = match guard {
                Some(guard) => Shape::GuardedArm(self.range(guard)),
                None => Shape::Arm(self.range(pattern).end),
            };
            let what = format!("delete match arm {}", self.line(pattern));
            self.add(pattern, shape, vec![(what, String::new())]);
        }
        if let Some(guard) = guard {
            let value = |value: &str| (format!("replace match guard with {value}"), value.into());
            let shape = Shape::Expression(self.range(guard));
            if !has_let(guard) {
                self.add(guard, shape, vec![value("true"), value("false")]);
            }
            self.visit_expr(guard);
        }
        self.visit_expr(&arm.body);
    }
}

/// Whether a condition binds names, so that it can't stand elsewhere.
fn has_let(condition: &Expr) -> bool {
    match condition {
        Expr::Let(_) => true,
        Expr::Binary(binary) if matches!(binary.op, BinOp::And(_)) => {
            has_let(&binary.left) || has_let(&binary.right)
        }
        _ => false,
    }
}

/// The attributes of expressions that stand as statements.
fn attributes(expression: &Expr) -> &[Attribute] {
    match expression {
        Expr::Assign(of) => &of.attrs,
        Expr::Block(of) => &of.attrs,
        Expr::Call(of) => &of.attrs,
        Expr::If(of) => &of.attrs,
        Expr::Match(of) => &of.attrs,
        Expr::MethodCall(of) => &of.attrs,
        Expr::Return(of) => &of.attrs,
        Expr::Unsafe(of) => &of.attrs,
        _ => &[],
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if is_built(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let of = item.trait_.as_ref().map(|(path, _)| self.line(path));
        if !is_built(&item.attrs) || of.as_deref() == Some("Default") {
            return;
        }
        let kind = self.line(&item.self_ty);
        let name = of.map_or(kind.clone(), |of| format!("<impl {of} for {kind}>"));
        self.within(name, |finder| item.items.iter().for_each(|item| finder.visit_impl_item(item)));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if item.sig.ident != "new" {
            self.function(&item.attrs, &item.sig, &item.block);
        }
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        if is_built(&item.attrs) {
            let name = item.ident.to_string();
            self.within(name, |finder| visit::visit_item_trait(finder, item));
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.function(&item.attrs, &item.sig, body);
        }
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        if is_built(&item.attrs) {
            self.constant(|finder| finder.visit_expr(&item.expr));
        }
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        if is_built(&item.attrs) {
            self.constant(|finder| finder.visit_expr(&item.expr));
        }
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        if is_built(&item.attrs) {
            self.constant(|finder| finder.visit_expr(&item.expr));
        }
    }

    fn visit_expr_const(&mut self, block: &'ast syn::ExprConst) {
        self.constant(|finder| visit::visit_expr_const(finder, block));
    }

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
        self.constant(|finder| finder.visit_expr(&repeat.len));
    }

    fn visit_stmt(&mut self, statement: &'ast syn::Stmt) {
        let attributes = match statement {
            syn::Stmt::Expr(expression, _) => attributes(expression),
            syn::Stmt::Local(local) => &local.attrs,
            _ => &[],
        };
        if is_built(attributes) {
            visit::visit_stmt(self, statement);
        }
    }

    fn visit_field_value(&mut self, field: &'ast syn::FieldValue) {
        if is_built(&field.attrs) {
            visit::visit_field_value(self, field);
        }
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let is_chain = has_let(&binary.left) || has_let(&binary.right);
        let (own, others) = operators::others(&binary.op);
        if !is_chain && !others.is_empty() {
            let (left, right) = (self.operand(&binary.left), self.operand(&binary.right));
            let choice = |other: &&str| {
                (format!("replace {own} with {other}"), format!("{left} {other} {right}"))
            };
            let choices = others.iter().map(choice).collect();
            self.add(&binary.op, Shape::Expression(self.range(binary)), choices);
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        let sign = match unary.op {
            UnOp::Not(_) => "!",
            UnOp::Neg(_) => "-",
            _ => "",
        };
        if !sign.is_empty() {
            let choice = (format!("delete {sign}"), self.operand(&unary.expr));
            self.add(&unary.op, Shape::Expression(self.range(unary)), vec![choice]);
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_match(&mut self, matching: &'ast syn::ExprMatch) {
        self.visit_expr(&matching.expr);
        let has_wildcard = matching.arms.iter().any(|arm| matches!(arm.pat, Pat::Wild(_)));
        matching.arms.iter().for_each(|arm| self.arm(arm, has_wildcard));
    }

    fn visit_expr_struct(&mut self, expression: &'ast syn::ExprStruct) {
        if let Some(rest) = &expression.rest {
            let path = self.line(&expression.path);
            let choices = (0..expression.fields.len()).map(|without| {
                let fields = expression.fields.iter().enumerate();
                let kept = fields.filter(|(index, _)| *index != without);
                let kept: String = kept.map(|(_, field)| self.text(field) + ", ").collect();
                let name = self.line(&expression.fields[without].member);
                let what = format!("delete field {name} from struct {path} expression");
                (what, format!("{path} {{ {kept}..{} }}", self.text(rest)))
            });
            let choices = choices.collect();
            self.add(expression, Shape::Expression(self.range(expression)), choices);
        }
        visit::visit_expr_struct(self, expression);
    }

    // What can't hold a choice.
    fn visit_pat(&mut self, _: &'ast Pat) {}
    fn visit_type(&mut self, _: &'ast Type) {}
    fn visit_item_enum(&mut self, _: &'ast syn::ItemEnum) {}
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
    fn visit_generic_argument(&mut self, _: &'ast syn::GenericArgument) {}
}
