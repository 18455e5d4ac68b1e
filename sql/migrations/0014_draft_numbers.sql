-- Numbers of drafts are never given twice.

create table zmesh.draft_numbers (
    function_id uuid    primary key references zmesh.functions on delete cascade,
    last        integer not null
);
comment on table zmesh.draft_numbers is
    'The number of each function''s latest draft. None is given twice: invocations and listeners remember drafts by number after they were deleted.';

insert into zmesh.draft_numbers (function_id, last)
select function_id, min(version) from zmesh.function_versions where version < 0 group by function_id;
