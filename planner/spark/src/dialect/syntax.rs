//! Spark's dialect for the parser: its characters, words and operators.

use std::any::TypeId;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Ident, ObjectName};
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::intervals;
use super::tree::call;

/// Spark's dialect of SQL.
///
/// As in Spark by default, text in `'` and in `"` is a string, names are quoted with backticks, and
/// a backslash escapes.
#[derive(Debug, Clone, Copy, Default)]
pub struct SparkDialect;

impl Dialect for SparkDialect {
    /// Returns the generic dialect, which the parser assumes wherever a dialect has no method to
    /// override.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_'
    }

    fn supports_string_literal_backslash_escape(&self) -> bool {
        true
    }

    fn supports_string_literal_concatenation(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_group_by_with_modifier(&self) -> bool {
        true
    }

    fn supports_order_by_all(&self) -> bool {
        true
    }

    fn supports_lambda_functions(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_select_wildcard_replace(&self) -> bool {
        true
    }

    fn supports_struct_literal(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }

    fn supports_create_table_using(&self) -> bool {
        true
    }

    fn supports_long_type_as_bigint(&self) -> bool {
        true
    }

    fn supports_values_as_table_factor(&self) -> bool {
        true
    }

    fn supports_bang_not_operator(&self) -> bool {
        true
    }

    fn supports_select_item_multi_column_alias(&self) -> bool {
        true
    }

    fn supports_cte_without_as(&self) -> bool {
        true
    }

    fn supports_left_associative_joins_without_parens(&self) -> bool {
        true
    }

    fn supports_from_first_select(&self) -> bool {
        true
    }

    fn supports_pipe_operator(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_named_fn_args_with_rarrow_operator(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }

    fn supports_explain_with_utility_options(&self) -> bool {
        true
    }

    fn supports_cross_join_constraint(&self) -> bool {
        true
    }

    fn supports_subquery_as_function_arg(&self) -> bool {
        true
    }

    fn supports_create_view_comment_syntax(&self) -> bool {
        true
    }

    fn supports_limit_comma(&self) -> bool {
        false
    }

    fn supports_dictionary_syntax(&self) -> bool {
        true
    }

    fn support_map_literal_syntax(&self) -> bool {
        false
    }

    fn supports_map_literal_with_angle_brackets(&self) -> bool {
        true
    }

    fn supports_table_sample_before_alias(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn allow_extract_single_quotes(&self) -> bool {
        true
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        intervals::parse(parser).or_else(|| parse_exists_call(parser))
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        match &parser.peek_token_ref().token {
            Token::Word(word) if word.keyword == Keyword::DIV => {
                Some(Ok(self.prec_value(Precedence::MulDivModOp)))
            }
            // Shifts bind closer than `&`, `^` and `|`.
            Token::ShiftLeft | Token::ShiftRight => {
                Some(Ok(self.prec_value(Precedence::PlusMinus) - 1))
            }
            _ => None,
        }
    }

    fn parse_infix(
        &self,
        parser: &mut Parser,
        expr: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        if parser.peek_nth_token_ref(0).token == Token::ShiftRight
            && parser.peek_nth_token_ref(1).token == Token::Gt
        {
            return Some(shift_without_sign(parser, expr, precedence));
        }
        if parser.parse_keyword(Keyword::DIV) {
            return Some(
                parser
                    .parse_subexpr(precedence)
                    .map(|right| Expr::BinaryOp {
                        left: Box::new(expr.clone()),
                        op: BinaryOperator::MyIntegerDivide,
                        right: Box::new(right),
                    }),
            );
        }
        QuantifiedLike::peek(parser).map(|like| like.parse(parser, expr))
    }
}

/// The operator `[NOT] LIKE|ILIKE ANY|SOME|ALL (pattern, …)`, which is parsed as comparisons joined
/// by OR or AND.
struct QuantifiedLike {
    is_negated: bool,
    /// LIKE or ILIKE.
    operator: Keyword,
    /// ANY, SOME or ALL.
    quantifier: Keyword,
}

impl QuantifiedLike {
    /// Returns the operator that the next tokens begin, and consumes nothing.
    fn peek(parser: &Parser) -> Option<Self> {
        let keyword = |n: usize| match parser.peek_nth_token_ref(n).token {
            Token::Word(ref word) => word.keyword,
            _ => Keyword::NoKeyword,
        };
        let is_negated = keyword(0) == Keyword::NOT;
        let start = usize::from(is_negated);
        let (operator, quantifier) = (keyword(start), keyword(start + 1));
        let is_quantified = matches!(operator, Keyword::LIKE | Keyword::ILIKE)
            && matches!(quantifier, Keyword::ANY | Keyword::SOME | Keyword::ALL);
        is_quantified.then_some(Self {
            is_negated,
            operator,
            quantifier,
        })
    }

    fn parse(self, parser: &mut Parser, expr: &Expr) -> Result<Expr, ParserError> {
        for _ in 0..usize::from(self.is_negated) + 2 {
            parser.next_token();
        }
        parser.expect_token(&Token::LParen)?;
        let patterns = parser.parse_comma_separated(Parser::parse_expr)?;
        parser.expect_token(&Token::RParen)?;
        let op = if self.quantifier == Keyword::ALL {
            BinaryOperator::And
        } else {
            BinaryOperator::Or
        };
        let comparisons = patterns
            .into_iter()
            .map(|pattern| self.comparison(expr.clone(), pattern))
            .reduce(|left, right| Expr::BinaryOp {
                left: Box::new(left),
                op: op.clone(),
                right: Box::new(right),
            });
        comparisons
            .map(|condition| Expr::Nested(Box::new(condition)))
            .ok_or_else(|| ParserError::ParserError("LIKE needs a pattern".to_owned()))
    }

    fn comparison(&self, expr: Expr, pattern: Expr) -> Expr {
        let (negated, any, escape_char) = (self.is_negated, false, None);
        let (expr, pattern) = (Box::new(expr), Box::new(pattern));
        if self.operator == Keyword::LIKE {
            Expr::Like {
                negated,
                any,
                expr,
                pattern,
                escape_char,
            }
        } else {
            Expr::ILike {
                negated,
                any,
                expr,
                pattern,
                escape_char,
            }
        }
    }
}

/// Parses the rest of `a >>> b`, which shifts zeros in.
fn shift_without_sign(
    parser: &mut Parser,
    value: &Expr,
    precedence: u8,
) -> Result<Expr, ParserError> {
    parser.next_token();
    parser.next_token();
    let count = parser.parse_subexpr(precedence)?;
    Ok(call("shiftrightunsigned", vec![value.clone(), count]))
}

/// Parses `exists(array, x -> …)`, which is a function; before a query, EXISTS is a condition.
fn parse_exists_call(parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
    let is_keyword = |token: &Token, keywords: &[Keyword]| matches!(token, Token::Word(word) if keywords.contains(&word.keyword));
    let queries = [
        Keyword::SELECT,
        Keyword::WITH,
        Keyword::VALUES,
        Keyword::FROM,
        Keyword::TABLE,
    ];
    let is_call = is_keyword(&parser.peek_nth_token(0).token, &[Keyword::EXISTS])
        && parser.peek_nth_token(1).token == Token::LParen
        && parser.peek_nth_token(2).token != Token::LParen
        && !is_keyword(&parser.peek_nth_token(2).token, &queries);
    is_call.then(|| {
        parser.next_token();
        parser.parse_function(ObjectName::from(vec![Ident::new("exists")]))
    })
}
