"""The operators of a trace that multiply no matrices: they add nothing to a cost.

Whatever is neither here nor counted in `products` is refused by its name. An operator belongs here
only if no sum of products of two tensors hides in it, whatever its arguments are: a distance, a
Fourier transform, a decomposition, or a call of code that the trace cannot see does not.
"""

BY_KIND = {
    # Arithmetic of each element, or of two elements at one place. A product of the kind is one
    # multiplication an element; (a * b).sum() is such a product and a reduction.
    "arithmetic": """
        abs absolute acos acosh add addcdiv addcmul angle arccos arccosh arcsin arcsinh arctan
        arctan2 arctanh asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_not
        bitwise_or bitwise_right_shift bitwise_xor ceil clamp clamp_max clamp_min clip copysign cos
        cosh deg2rad digamma div divide eq equal erf erfc erfinv exp exp2 expm1 fix float_power
        floor floor_divide fmax fmin fmod frac ge greater greater_equal gt heaviside hypot isclose
        isfinite isinf isnan ldexp le lerp less less_equal lgamma log log10 log1p log2 logaddexp
        logaddexp2 logical_and logical_not logical_or logical_xor logit lt maximum minimum mul
        multiply nan_to_num ne neg negative not_equal positive pow rad2deg reciprocal remainder
        round rsqrt rsub sgn sigmoid sign signbit sin sinc sinh sqrt square sub subtract tan tanh
        true_divide trunc where xlogy __and__ __or__ __xor__ __lshift__ __rshift__ special_entr
        special_erf special_exp2 special_expit special_expm1 special_log1p special_log_ndtr
        special_ndtr special_round special_sinc special_xlog1py special_xlogy
    """,
    # All pairs of two vectors: one multiplication for each element that comes out.
    "pairs of two vectors": """
        addr cross ger kron linalg_cross outer
    """,
    # Activations.
    "activations": """
        celu elu gelu glu hardshrink hardsigmoid hardswish hardtanh leaky_relu log_sigmoid
        log_softmax mish prelu relu relu6 rrelu selu silu softmax softplus softshrink
        special_log_softmax special_softmax threshold _softmax _log_softmax _masked_softmax
        _safe_softmax
    """,
    # Normalisation; `_weight_norm` and `norm_except_dim` are those of weights.
    "normalisation": """
        batch_norm cosine_similarity group_norm instance_norm layer_norm native_batch_norm
        native_group_norm native_layer_norm norm_except_dim renorm rms_norm _batch_norm_impl_index
        _weight_norm
    """,
    # Reductions and running sums.
    "reductions": """
        all amax amin aminmax any argmax argmin count_nonzero cummax cummin cumprod cumsum diff dist
        frobenius_norm linalg_vector_norm logcumsumexp logsumexp max mean median min nanmean
        nanmedian nansum norm pairwise_distance prod special_logsumexp std std_mean sum sum_to_size
        trace trapezoid trapz var var_mean
    """,
    # Pooling and resampling: a few neighbours of each element, with weights that are not learned.
    "pooling and resampling": """
        adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
        adaptive_max_pool2d adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d
        fractional_max_pool2d fractional_max_pool3d grid_sampler grid_sampler_2d grid_sampler_3d
        max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d
        max_pool3d_with_indices max_unpool2d max_unpool3d upsample_bicubic2d upsample_bilinear2d
        upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
        upsample_trilinear3d _adaptive_avg_pool2d _adaptive_avg_pool3d _upsample_bicubic2d_aa
        _upsample_bilinear2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d
        _upsample_nearest_exact3d
    """,
    # Shape, order and copies.
    "shape, order and copies": """
        adjoint alias as_strided atleast_1d atleast_2d atleast_3d block_diag broadcast_tensors
        broadcast_to cartesian_prod cat channel_shuffle chunk clone col2im column_stack combinations
        complex concat concatenate conj conj_physical constant_pad_nd contiguous copy detach diag
        diag_embed diagflat diagonal dsplit dstack expand expand_as flatten flip fliplr flipud
        hsplit hstack im2col imag lift lift_fresh lift_fresh_copy linalg_diagonal mH mT matrix_H
        meshgrid moveaxis movedim narrow native_channel_shuffle numpy_T pad pad_sequence permute
        pixel_shuffle pixel_unshuffle polar ravel real reflection_pad1d reflection_pad2d
        reflection_pad3d repeat repeat_interleave replication_pad1d replication_pad2d
        replication_pad3d reshape reshape_as resolve_conj resolve_neg roll rot90 row_stack select
        slice split split_with_sizes squeeze stack swapaxes swapdims t tensor_split tile to
        transpose tril tril_indices triu triu_indices type_as unbind unflatten unfold unsafe_chunk
        unsafe_split unsafe_split_with_sizes unsqueeze view view_as view_as_complex view_as_real
        vsplit vstack _conj _pad_circular _reshape_alias _to_copy _unsafe_view
    """,
    # Packed sequences of recurrent layers: an order of the same elements.
    "packed sequences": """
        _pack_padded_sequence _pad_packed_sequence
    """,
    # Indexing and sorting; a sum of looked-up rows has no weights.
    "indexing and sorting": """
        argsort argwhere bincount bucketize diagonal_scatter embedding fill_diagonal gather index
        index_add index_copy index_fill index_put index_select isin kthvalue masked_fill
        masked_scatter masked_select mode msort nonzero nonzero_numpy one_hot put scatter
        scatter_add scatter_reduce searchsorted select_scatter slice_scatter sort take
        take_along_dim topk unique_consecutive unique_dim _index_put_impl _unique _unique2
        _unsafe_index
    """,
    # Random numbers and dropout.
    "random numbers and dropout": """
        alpha_dropout bernoulli dropout exponential feature_alpha_dropout feature_dropout
        multinomial native_dropout normal rand rand_like randint randint_like randn randn_like
        randperm uniform
    """,
    # New tensors, and questions about old ones.
    "new tensors and questions": """
        arange as_tensor empty empty_like empty_strided eye fill full full_like linspace logspace
        new_empty new_empty_strided new_full new_ones new_zeros ones ones_like scalar_tensor tensor
        zero zeros zeros_like dim is_complex is_floating_point is_nonzero item len numel result_type
        size stride storage_offset sym_numel sym_size sym_storage_offset sym_stride _shape_as_tensor
        _local_scalar_dense
    """,
    # Numbers of Python that the trace follows.
    "numbers": """
        Bool Complex ComplexImplicit Float FloatImplicit Int IntImplicit ScalarImplicit __contains__
        __derive_index __getitem__ __is__ __isnot__ __not__ __range_length append floordiv
        mathremainder neg
    """,
}
"""Names in torch's namespace ``aten``, without the underscore that ends those in place."""

WITHOUT_PRODUCTS = frozenset(name for names in BY_KIND.values() for name in names.split())

_ORGANISING = """
    Constant DictConstruct ListConstruct ListUnpack NumToTensor TupleConstruct TupleIndex
    TupleUnpack abs device dtype max min unchecked_cast
"""
ORGANISING = frozenset(_ORGANISING.split())
"""Names in the namespace ``prim``: constants, lists and numbers. A call of a scripted function, a
loop or a `torch.autograd.Function` is none of them: what it computes does not stand in the trace.
"""

_READING = """
    aten::dim aten::empty_like aten::full_like aten::is_complex aten::is_floating_point aten::len
    aten::new_empty aten::new_empty_strided aten::new_full aten::new_ones aten::new_zeros
    aten::numel aten::ones_like aten::rand_like aten::randint_like aten::randn_like
    aten::result_type aten::size aten::storage_offset aten::stride aten::sym_numel aten::sym_size
    aten::zeros_like aten::_shape_as_tensor prim::device prim::dtype
"""
READS_NO_VALUE = frozenset(_READING.split())
"""Operators that take a tensor for its shape or its type alone."""

_STOPPING = """
    aten::all aten::any aten::argmax aten::argmin aten::argsort aten::bucketize aten::detach
    aten::eq aten::ge aten::gt aten::isfinite aten::isinf aten::isnan aten::le aten::logical_and
    aten::logical_not aten::logical_or aten::lt aten::ne aten::nonzero aten::sign aten::Int
"""
WITHOUT_GRADIENT = READS_NO_VALUE.union(_STOPPING.split())
"""Operators behind which no gradient goes back."""


_VIEWING = """
    aten::narrow aten::permute aten::select aten::slice aten::squeeze aten::transpose
    aten::unsqueeze aten::view
"""
VIEWS = frozenset(_VIEWING.split())
"""Operators whose result shares the memory of their first tensor."""


def is_without_products(kind: str) -> bool:
    """True if an operator, by its name in a trace as ``aten::add_``, is known to have none."""
    namespace, _, name = kind.partition("::")
    if namespace == "prim":
        return name in ORGANISING
    return namespace == "aten" and (
        name in WITHOUT_PRODUCTS or name.removesuffix("_") in WITHOUT_PRODUCTS
    )
