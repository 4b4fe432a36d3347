//! Listen.
