//! One order for every option: flag > environment > file > default.

/// Options of which the left ones win.
pub trait Layered: Sized {
    /// Takes from `file` what `self` (flags and environment) does not say.
    #[must_use]
    fn or(self, file: Self) -> Self;
}

impl<T> Layered for Option<T> {
    fn or(self, file: Self) -> Self {
        Option::or(self, file)
    }
}

impl<T> Layered for Vec<T> {
    fn or(self, file: Self) -> Self {
        if self.is_empty() { file } else { self }
    }
}

impl Layered for bool {
    fn or(self, file: Self) -> Self {
        self || file
    }
}

/// Implements [`Layered`] field by field. Leaving a field out does not compile.
macro_rules! layered {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::cli::Layered for $name {
            fn or(self, file: Self) -> Self {
                let Self { $($field),+ } = self;
                Self { $($field: $crate::cli::Layered::or($field, file.$field)),+ }
            }
        }
    };
}
pub(crate) use layered;

#[cfg(test)]
mod tests {
    use super::Layered;

    #[test]
    fn the_left_wins_where_it_speaks() {
        assert_eq!(Layered::or(Some(1), Some(2)), Some(1));
        assert_eq!(Layered::or(None, Some(2)), Some(2));
        assert_eq!(Layered::or(vec![1], vec![2, 3]), vec![1]);
        assert_eq!(Layered::or(Vec::<u8>::new(), vec![2, 3]), vec![2, 3]);
    }
}
